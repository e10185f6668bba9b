"""Reads the comments beside the fields of a class into its description."""

from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """Adds `Attributes:` to classes that describe their fields by comments."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe where the members of a class are known."""
        if cls.docstring is None or "Attributes:" in cls.docstring.value:
            return
        lines = cls.lines_collection[cls.filepath]
        described = []
        for name, field in cls.members.items():
            if not field.is_attribute or field.has_labels("property"):
                continue
            assert field.lineno is not None
            comment = [lines[field.lineno - 1].partition("  # ")[2]]
            above = field.lineno - 2
            while lines[above].strip().startswith("# "):
                comment.insert(0, lines[above].strip()[2:])
                above -= 1
            text = " ".join(filter(None, comment)) or "as its name says."
            described.append(f"    {name}: {text}")
        if described:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(described)
