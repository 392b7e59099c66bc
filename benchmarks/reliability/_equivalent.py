EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {}
