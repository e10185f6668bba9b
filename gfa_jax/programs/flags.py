"""absl's flags, those of one program at a time.

absl keeps the flags of a process in one object, so that two programs with a --k cannot
be loaded together. Here a module defines its own by the same functions, a program
adopts those of the modules that it uses, and `FLAGS` are those of the program that
runs.
"""

import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from absl import flags

Error = flags.Error


class _Defined:
    """The flags of one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        # All that a command line may set.
        self.values = flags.FlagValues()
        self.values.mark_as_parsed()
        # The names of those that help and report show, by the module they are from.
        self.shown: dict[str, list[str]] = {}
        # The names of those that must be given.
        self.required: list[str] = []


class _Running:
    """The flags of the program that runs, read as attributes."""

    def __init__(self) -> None:
        self._defined = _Defined("")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._defined.values, name)

    def __getitem__(self, name: str) -> flags.Flag:
        return self._defined.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._defined.values


FLAGS: Any = _Running()
_modules: dict[str, _Defined] = {}


def _of_caller() -> _Defined:
    """Returns the flags of the module that called the function that calls this."""
    module = sys._getframe(2).f_globals["__name__"]
    return _modules.setdefault(module, _Defined(module))


def _define(kind: str) -> Any:
    define = getattr(flags, f"DEFINE_{kind}")

    def define_here(name: str, *arguments: Any, **options: Any) -> None:
        defined = _of_caller()
        define(name, *arguments, flag_values=defined.values, **options)
        defined.shown.setdefault(defined.module, []).append(name)

    return define_here


DEFINE_bool = _define("bool")
DEFINE_enum = _define("enum")
DEFINE_float = _define("float")
DEFINE_integer = _define("integer")
DEFINE_list = _define("list")
DEFINE_multi_enum = _define("multi_enum")
DEFINE_string = _define("string")


def DEFINE_level(name: str, levels: Sequence[str], about: str) -> None:  # noqa: N802
    """Defines a flag of some words; --NAME means the first of them, --noNAME the last.

    It is the first where it is not given.
    """
    defined = _of_caller()
    flag = flags.Flag(_Levels(levels), None, name, levels[0], about)
    flag.boolean = True
    flags.DEFINE_flag(flag, defined.values)
    defined.shown.setdefault(defined.module, []).append(name)


class _Levels(flags.EnumParser):
    def parse(self, argument: Any) -> Any:
        """See the base class."""
        ends = {"true": self.enum_values[0], "false": self.enum_values[-1]}
        return super().parse(ends.get(str(argument).lower()) or argument)


def adopt(module: ModuleType, *names: str) -> None:
    """Gives the calling module the flags of another one.

    Help and report show those of the `names`, by default all.
    """
    defined = _of_caller()
    other = _modules[module.__name__]
    for name in other.values:
        if name not in defined.values or defined.values[name] is not other.values[name]:
            defined.values[name] = other.values[name]
    for owner, shown in other.shown.items():
        kept = [name for name in shown if not names or name in names]
        if kept:
            defined.shown.setdefault(owner, []).extend(kept)


def require(*names: str) -> None:
    """Refuses command lines of the calling module's program without these flags."""
    _of_caller().required += names


def parse(program: ModuleType, argv: Sequence[str]) -> None:
    """Makes `FLAGS` those of a program, as a command line with its name sets them.

    Raises:
        Error: a flag that is not known, out of its range or missing.
    """
    defined = _modules[program.__name__]
    for name in defined.values:
        defined.values[name].unparse()
    rest = defined.values(list(argv))
    if len(rest) > 1:
        raise Error(f"got {' '.join(rest[1:])!r}; expected flags only: --name=value")
    for name in defined.required:
        if defined.values[name].value is None:
            raise Error(f"--{name} is missing; this program needs it")
    FLAGS._defined = defined


def values() -> dict[str, Any]:
    """Returns every flag that the running program shows, by name."""
    shown = FLAGS._defined.shown.values()
    return {name: FLAGS[name].value for names in shown for name in names}


def describe(program: ModuleType, *, everything: bool = False) -> str:
    """Lays out what `--help` shows: the flags that the program's EVERYDAY names.

    Of each the first sentence. All flags, by the module that defines them, where it
    names none, or where `everything` is asked.
    """
    defined = _modules[program.__name__]
    about = (program.__doc__ or "").strip()
    everyday: Sequence[str] = getattr(program, "EVERYDAY", ())
    lines = []
    if everyday and not everything:
        lines += ["\n\n".join(about.split("\n\n")[:2]), ""]
        for name in everyday:
            switch, text, usual = _explain(defined.values[name])
            line = f"  {switch:<17} {text.partition('. ')[0].rstrip('.')}{usual}"
            lines += textwrap.wrap(line, 79, subsequent_indent=" " * 20)
        count = sum(map(len, defined.shown.values())) - len(everyday)
        return "\n".join([*lines, "", f"--help=all has {count} more, by group."])
    for owner, names in defined.shown.items():
        module = sys.modules.get(owner)
        title = (getattr(module, "__doc__", None) or owner).strip().splitlines()[0]
        lines += ["", title, ""]
        for name in names:
            switch, text, usual = _explain(defined.values[name])
            lines.append(f"  {switch}")
            lines += textwrap.indent(
                textwrap.fill(text + usual, 73), " " * 6
            ).splitlines()
    return "\n".join([about, *lines])


def _explain(flag: flags.Flag) -> tuple[str, str, str]:
    """Returns how a flag is written, its help and its default."""
    switch = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    usual = f" (default: {flag.default_as_str})" if flag.default is not None else ""
    return switch, flag.help or "", usual
