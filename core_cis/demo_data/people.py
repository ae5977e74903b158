"""Made-up customers: names, addresses and saved payment methods from a seeded generator."""

from random import Random

import msgspec

_FIRST_NAMES = (  # noqa: SIM905 - words are read more easily as words
    "Ada Amir Ana Anders Aiko Ben Beatriz Bilal Carla Chen Clara Dana Daniel Dilan Eda Elena Emeka Farah Felix Fiona "
    "Gita Grace Hana Hector Ines Ivan Jamal Jana Jonas Kaya Keiko Lena Luis Maeve Malik Marta Mei Milan Nadia Noor "
    "Olga Omar Petra Priya Quinn Rafael Rosa Samir Sofia Tara Tomas Uma Vera Viktor Wanda Xenia Yusuf Zara Zoe Leila"
).split()
_LAST_NAMES = (  # noqa: SIM905 - words are read more easily as words
    "Abara Adler Alvarez Banerjee Bauer Becker Bianchi Calloway Castillo Chandra Costa Dahl Diaz Dubois Eriksen "
    "Fischer Fontaine Garcia Gupta Haddad Hansen Hoang Ibrahim Ito Jansen Kaplan Keller Kim Kowalski Larsen Lopez "
    "Marino Mensah Meyer Moreau Nakamura Nguyen Novak Okafor Olsen Park Pereira Petrov Quigley Rahman Rossi Santos "
    "Sato Silva Singh Stone Tanaka Torres Umar Vargas Weber Whitlock Yilmaz Zhang Zielinski"
).split()
_STREETS = (  # noqa: SIM905 - words are read more easily as words
    "Alder Quay|Birch Lane|Canal Street|Dock Road|Elm Terrace|Ferry Street|Granary Row|Harbor Way|Iron Bridge Road|"
    "Juniper Court|Kiln Street|Lantern Hill|Mill Pond Road|North Shore Drive|Orchard Street|Pier Avenue|Quarry Road|"
    "River Bend|Saltmarsh Lane|Tannery Walk|Upper Locks|Vine Street|Weir Road|Yard Street"
).split("|")
_BANKS = ("Lakeshore Savings", "Harbor Federal", "Northwater Credit Union", "First Canal Bank")
_CARDS = ("Visa", "Mastercard", "Discover")
_PASSWORD_WORDS = (  # noqa: SIM905 - words are read more easily as words
    "anchor barrel candle delta ember fennel gravel hazel island jetty kettle ladder meadow needle orchid pebble "
    "quartz ribbon saddle timber umbrella violet willow yonder zephyr beacon copper driftwood feather harvest"
).split()


class DemoMethod(msgspec.Struct, frozen=True):
    """A saved payment method of the demo."""

    method_id: str
    type: str
    label: str
    token: str
    status: str


class DemoCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the demo with one account, one service point and one meter."""

    customer_id: str
    account_id: str
    service_point_id: str
    meter_id: str
    name: str
    email: str
    password: str
    address: str
    methods: tuple[DemoMethod, ...]


def demo_customer(number: int, seed: int) -> DemoCustomer:
    """Make the customer of a number (from 1); the same number and seed give the same customer."""
    random = Random(f"{seed}/{number}")
    first, last = random.choice(_FIRST_NAMES), random.choice(_LAST_NAMES)
    code = f"{random.randrange(10**8):08d}"
    return DemoCustomer(
        customer_id=f"C-{number:06d}",
        account_id=f"{4400 + number % 100:04d}-{number:04d}-{int(code[:2]):02d}",
        service_point_id=f"SP-{number:06d}",
        meter_id=f"NW-{number:05d}-{code[3:]}",
        name=f"{first} {last}",
        email=f"{first}.{last}.{number}@example.com".lower(),
        password="-".join((*random.sample(_PASSWORD_WORDS, 3), str(random.randrange(10, 100)))),
        address=f"{random.randrange(1, 240)} {random.choice(_STREETS)}",
        methods=_methods(random, number),
    )


def _methods(random: Random, number: int) -> tuple[DemoMethod, ...]:
    ending = f"{random.randrange(10_000):04d}"
    bank = DemoMethod(
        f"pm_{number:06d}_bank",
        "bank_account",
        f"{random.choice(_BANKS)} checking ending {ending}",
        f"tok_demo_bank_{number:06d}",
        "verified",
    )
    card = DemoMethod(
        f"pm_{number:06d}_card",
        "card",
        f"{random.choice(_CARDS)} ending {random.randrange(10_000):04d}",
        f"tok_demo_card_{number:06d}",
        random.choice(("verified", "verified", "expired")),
    )
    return (bank, card) if random.random() < 0.6 else (bank,)  # noqa: PLR2004 - most homes save two
