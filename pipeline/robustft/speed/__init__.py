"""Optional shortcuts: the same numbers up to rounding for less work. Nothing here changes a result when it is off."""
