"""Words that every page must show as they are."""

ATTACK = "<img src=x onerror=alert(1)><b x-init=\"window.pwned = 1\" x-text='1'>{{ 7 * 7 }}</b>"
