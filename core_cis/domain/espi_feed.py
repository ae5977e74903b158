"""
The elements of an ESPI feed that readings are made of, collected while the parser passes them.

Nothing is judged here: readings keep the texts of the file, with the line they start at.
"""

from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesNSImpl, Locator

import msgspec

ATOM = "http://www.w3.org/2005/Atom"
ESPI = "http://naesb.org/espi"

DEPTH_MAX = 32
TEXT_MAX = 10_000
READINGS_MAX = 1_000_000
ENTRIES_MAX = 50_000
LINKS_MAX = 1000

_Name = tuple[str | None, str]


class TooMuch(Exception):
    """The file goes over a bound; the message says which."""


class RawReading(msgspec.Struct):
    """An `IntervalReading` as texts; empty where the file has none."""

    line: int
    start: str = ""
    duration: str = ""
    value: str = ""
    quality: str = ""


class FeedEntry(msgspec.Struct):
    """
    An Atom entry.

    Attributes:
        address: The `self` link.
        parent: The `up` link.
        related: The `related` links.
        title: As given.
        is_meter_reading: Whether it holds a `MeterReading`.
        reading_type: The fields of its `ReadingType`, None without one.
        readings: The readings of its `IntervalBlock`s.
    """

    address: str = ""
    parent: str = ""
    related: list[str] = []
    title: str = ""
    is_meter_reading: bool = False
    reading_type: dict[str, str] | None = None
    readings: list[RawReading] = []


# Where a text belongs that ends an element, by the names of the element and its parents.
_READING_FIELDS = {
    ("IntervalReading", "value"): "value",
    ("timePeriod", "start"): "start",
    ("timePeriod", "duration"): "duration",
    ("ReadingQuality", "quality"): "quality",
}


_TYPE_FIELDS = frozenset(
    {"accumulationBehaviour", "flowDirection", "intervalLength", "powerOfTenMultiplier", "uom"}
)


class EspiHandler(ContentHandler):
    """
    Collects the entries of a feed.

    Attributes:
        entries: In the order of the file.

    Raises:
        TooMuch: Nested too deep, a text too long, too many readings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[FeedEntry] = []
        self._entry: FeedEntry | None = None
        self._reading: RawReading | None = None
        self._path: list[str] = []
        self._text: list[str] = []
        self._text_length = 0
        self._readings = 0
        self._locator: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 (the name of SAX)
        """Remember where the parser tells its line."""
        self._locator = locator

    @property
    def line(self) -> int:
        """The line the parser is at."""
        return (self._locator.getLineNumber() or 0) if self._locator is not None else 0

    def startElementNS(  # noqa: N802 (the name of SAX)
        self, name: _Name, qname: str | None, attrs: AttributesNSImpl
    ) -> None:
        """Open an element; entries, links and readings start here."""
        _ = qname
        space, local = name
        if len(self._path) >= DEPTH_MAX:
            raise TooMuch(f"elements are nested more than {DEPTH_MAX} deep")
        # Names of other vocabularies cannot be mistaken for ours.
        self._path.append(local if space in {ATOM, ESPI} else "")
        self._text.clear()
        self._text_length = 0
        if space == ATOM:
            self._start_atom(local, attrs)
        elif space == ESPI and self._entry is not None:
            self._start_espi(local, self._entry)

    def _start_atom(self, local: str, attrs: AttributesNSImpl) -> None:
        if local == "entry":
            if len(self.entries) >= ENTRIES_MAX:
                raise TooMuch(f"more than {ENTRIES_MAX} entries")
            self._entry = FeedEntry()
        elif local == "link" and self._entry is not None:
            address = str(attrs.get((None, "href")) or "")
            match attrs.get((None, "rel")):
                case "self":
                    self._entry.address = address
                case "up":
                    self._entry.parent = address
                case "related" if len(self._entry.related) < LINKS_MAX:
                    self._entry.related.append(address)
                case _:
                    pass

    def _start_espi(self, local: str, entry: FeedEntry) -> None:
        if local == "MeterReading":
            entry.is_meter_reading = True
        elif local == "ReadingType":
            entry.reading_type = {}
        elif local == "IntervalReading":
            self._readings += 1
            if self._readings > READINGS_MAX:
                raise TooMuch(f"more than {READINGS_MAX} readings")
            self._reading = RawReading(self.line)

    def characters(self, content: str) -> None:
        """Collect text."""
        self._text_length += len(content)
        if self._text_length > TEXT_MAX:
            raise TooMuch(f"a text is longer than {TEXT_MAX} characters")
        self._text.append(content)

    def endElementNS(self, name: _Name, qname: str | None) -> None:  # noqa: N802 (the name of SAX)
        """Close an element: its text goes where it belongs."""
        _ = qname, name
        local = self._path.pop()
        parent = self._path[-1] if self._path else ""
        text = "".join(self._text).strip()
        self._text.clear()
        self._text_length = 0
        if self._entry is None:
            return
        if local == "entry":
            self.entries.append(self._entry)
            self._entry = None
        elif local == "title" and parent == "entry":
            self._entry.title = text
        elif parent == "ReadingType" and self._entry.reading_type is not None:
            if local in _TYPE_FIELDS:
                self._entry.reading_type[local] = text
        elif local == "IntervalReading" and self._reading is not None:
            self._entry.readings.append(self._reading)
            self._reading = None
        elif self._reading is not None:
            self._end_reading_field(local, parent, text)

    def _end_reading_field(self, local: str, parent: str, text: str) -> None:
        field = _READING_FIELDS.get((parent, local))
        # A reading may carry several qualities: the first stands.
        if self._reading is not None and field is not None and not getattr(self._reading, field):
            setattr(self._reading, field, text)
