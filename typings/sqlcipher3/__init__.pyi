from sqlcipher3 import _sqlite3 as _sqlite3
from sqlcipher3.dbapi2 import *
