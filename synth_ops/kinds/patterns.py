"""What telling values look like: regular expressions (RE2) and check digits."""

from __future__ import annotations

import re
from collections.abc import Mapping

REGULAR: Mapping[str, str] = {
    "email": r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$",
    "url": r"^(https?|ftp)://\S+$|^www\.[^\s.]+\.\S+$",
    "uuid": r"^\{?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\}?$",
    "ip": r"^([0-9]{1,3}\.){3}[0-9]{1,3}(/[0-9]{1,2})?$|^([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}$"
    r"|^([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?::([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?$",
    "phone": r"^\+[0-9][0-9 ()./-]{6,18}( ?(x|ext\.?) ?[0-9]+)?$|^\(?[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}$"
    r"|^\([0-9]{1,5}\) ?[0-9][0-9 ./-]{4,14}$|^0[0-9]{1,4}[ /-][0-9][0-9 /-]{4,12}$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?$",
    "dialled": r"^[+(0-9][0-9 ()+./xX-]{2,}$",
    "code": r"^[A-Za-z0-9._/#:-]*[0-9][A-Za-z0-9._/#:-]*$|^[A-Z0-9]{2,12}$",
    "nested": r"^\s*(\{.*\}|\[.*\])\s*$",
}
"""By pattern: `dialled` is a weak one, for columns that are called phone; `code` has a digit or is all upper case."""
NUMBERED: Mapping[str, str] = {
    "iban": r"^[A-Z]{2}[0-9]{2}( ?[A-Z0-9]){11,30}$",
    "card": r"^[3-6][0-9]{3}([ -]?[0-9]){9,15}$",
}
"""Patterns whose check digits must be right, too."""


def confirmed(pattern: str, value: str) -> bool:
    """Whether the check digits of an IBAN (mod 97) or a card number (Luhn) are right.

    >>> confirmed("iban", "GB82 WEST 1234 5698 7654 32"), confirmed("card", "4111 1111 1111 1112")
    (True, False)
    """
    plain = re.sub(r"[\s-]", "", value).upper()
    return iban_check(plain[4:], plain[:2]) == int(plain[2:4]) if pattern == "iban" else luhn_valid(plain)


def iban_check(account: str, country: str) -> int:
    """The check digits of an IBAN, by ISO 13616.

    >>> iban_check("WEST12345698765432", "GB")
    82
    """
    return 98 - int("".join(str(int(character, 36)) for character in f"{account}{country}00")) % 97


def luhn_valid(digits: str) -> bool:
    """Whether a card number's last digit is right, by ISO/IEC 7812.

    >>> luhn_valid("4111111111111111")
    True
    """
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(digits, start=len(digits) % 2)]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0  # noqa: PLR2004
