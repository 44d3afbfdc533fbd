"""The forms in which people write a number, and the parts of what they wrote: sign, digits, unit.

    (1.234,50 €)   -7,5   5-   $ 1,234   12.5 %   1 234 567   6.02e23   +7   0,125 kg/m³

`SHAPES` are disjoint: a text has the first one that it matches. What an ambiguous one means, such as "1.234", is
settled by the other cells of its column and file.
"""

import pyarrow as pa
import pyarrow.compute as pc

SIGN = r"[+\-−]?"
BLANKS = r" \x{a0}\x{202f}\x{2009}"
THOUSANDS = rf"'’{BLANKS}"
SHAPES = {
    "integer": rf"^{SIGN}(0|[1-9]\d{{0,17}}|[1-8]\d{{18}})$",  # of at most 64 bits
    "zero_led": rf"^{SIGN}0\d+$",
    "long": rf"^{SIGN}[1-9]\d{{18,}}$",
    "ambiguous_point": rf"^{SIGN}[1-9]\d{{0,2}}\.\d{{3}}$",
    "ambiguous_comma": rf"^{SIGN}[1-9]\d{{0,2}},\d{{3}}$",
    "whole_point": rf"^{SIGN}\d+\.0*$",
    "whole_comma": rf"^{SIGN}\d+,0*$",
    "point": rf"^{SIGN}(\d*\.\d+|\d+\.\d*[eE][+-]?\d{{1,4}}|\d*\.\d+[eE][+-]?\d{{1,4}}|\d+[eE][+-]\d{{1,4}})$",
    "comma": rf"^{SIGN}(\d*,\d+|\d+,\d*[eE][+-]?\d{{1,4}})$",
    "bare_exponent": rf"^{SIGN}\d+[eE]\d{{1,4}}$",  # 1E5 may be a code
    "grouped": rf"^{SIGN}\d{{1,3}}((,\d{{3}})+|(\.\d{{3}})+|([{THOUSANDS}]\d{{3}})+)$",
    "grouped_point": rf"^{SIGN}\d{{1,3}}([,{THOUSANDS}]\d{{3}})+\.\d*$",
    "grouped_comma": rf"^{SIGN}\d{{1,3}}([.{THOUSANDS}]\d{{3}})+,\d*$",
}
NOT_FINITE = rf"(?i)^{SIGN}(inf|infinity|∞|1\.#inf)$"
HEXADECIMAL = r"^[+\-]?0[xX][0-9a-fA-F]+$"
NINES = r"^[-−]?9{2,18}([.,](9+|0+))?$"  # 9999, -999, 99.9: what stands for no number
SCALES = ("k", "K", "M", "B", "bn", "Mio", "mio", "Mrd", "%", "‰")  # units that change the number
CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|ZAR|Fr|Rs"
MARKS = "[$€£¥₹₽₩฿¢]"
WRITTEN = (
    rf"^(?P<open>\(?)\s*(?P<sign>{SIGN})\s*(?P<before>R\$|{MARKS}|(?:{CODES})\.?|)\s*(?P<inner>{SIGN})\s*"
    rf"(?P<body>\d[\d.,{THOUSANDS}]*|[.,]\d+)(?P<exponent>(?:[eE][+-]?\d{{1,4}})?)\s*"
    rf"(?P<unit>{MARKS}|[%‰°]|°[CFK]|(?:[A-Za-zµΩ]{{1,4}}[²³]?)(?:/[A-Za-z]{{1,3}}[²³]?)?|)\s*(?P<behind>[-−]?)(?P<close>\)?)$"
)


def matches(values: pa.Array, pattern: str) -> pa.Array:
    """Return where text matches a pattern; False for null."""
    found = pc.match_substring_regex(values, pattern)
    return pc.fill_null(found, False) if found.null_count else found


def parts(values: pa.Array) -> dict[str, pa.Array]:
    """Return the parts of numbers as they were written: negative (boolean), body, exponent, unit; null where none is.

    Args:
        values: text without outer blanks.
    """
    found = pc.extract_regex(values, WRITTEN)
    group = {name: pc.struct_field(found, name) for name in ("open", "close", "sign", "inner", "behind")}
    body = pc.utf8_rtrim(pc.struct_field(found, "body"), "'’ \u00a0\u202f\u2009")
    is_open, is_closed = pc.equal(group["open"], "("), pc.equal(group["close"], ")")
    is_flat = matches(body, "[.,]$")  # 5.- and 5,- have no cents
    behind = pc.if_else(is_flat, "", group["behind"])
    signs = pc.binary_join_element_wise(group["sign"], group["inner"], behind, "")
    is_fair = pc.and_(pc.equal(is_open, is_closed), pc.less_equal(pc.utf8_length(signs), 1))
    is_fair = pc.and_(is_fair, pc.invert(pc.and_(is_open, pc.not_equal(signs, ""))))
    before, after = pc.struct_field(found, "before"), pc.struct_field(found, "unit")
    unit = pc.if_else(pc.equal(before, ""), after, before)
    is_fair = pc.and_(is_fair, pc.or_(pc.equal(before, ""), pc.equal(after, "")))
    negative = pc.or_(is_open, pc.is_in(signs, value_set=pa.array(["-", "−"])))
    result = {"negative": negative, "body": body, "exponent": pc.struct_field(found, "exponent"), "unit": unit}
    return {name: pc.if_else(is_fair, part, None) for name, part in result.items()}
