"""Rules of the business: pure computations without files, frameworks or drivers."""
