"""What a checker's answer amounts to. Python only: read by interpreters that have no minigen.

- "passes": it says nothing.
- "numbers differ": it fails, and shows numbers that differ.
- "something else": it fails with a message about something else.
- "names it": the message says what is wrong with the layer.
"""

import re
from textwrap import shorten


def verdict(check, fault, names, differs, decisive):
    """(verdict, decisive line) of `check()`.

    names: {kind of fault: pattern of a message that names it}.  differs: pattern of a message that only shows numbers.
    decisive: message -> the line of it that matters.
    """
    try:
        check()
    except Exception as error:  # whatever a checker raises is its answer
        message = f"{type(error).__name__}: {error}"
        line = shorten(decisive(message), 120, placeholder=" …")
        if re.search(names.get(fault.kind, "(?!)"), message):
            return "names it", line
        return ("numbers differ" if re.search(differs, message) else "something else"), line
    return "passes", ""
