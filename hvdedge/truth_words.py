"""How people write true and false."""

PAIRS = (
    *(("true", "false"), ("yes", "no"), ("on", "off"), ("ja", "nein"), ("oui", "non"), ("wahr", "falsch")),
    *(("vrai", "faux"), ("sí", "no"), ("si", "no"), ("sim", "não"), ("vero", "falso"), ("verdadero", "falso")),
)
LETTERS = (("y", "n"), ("j", "n"), ("t", "f"))
DIGITS = (("1", "0"),)
TRUE = tuple(dict.fromkeys(true for true, _ in (*PAIRS, *LETTERS, *DIGITS)))
FALSE = tuple(dict.fromkeys(false for _, false in (*PAIRS, *LETTERS, *DIGITS)))
