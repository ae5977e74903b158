# The compiled module; what is asked of it is only where its file lies.
__file__: str
