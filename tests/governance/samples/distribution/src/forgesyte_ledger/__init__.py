"""The package of the distribution."""

CURRENCY = "EUR"
