"""absl's flags, those of one program at a time.

absl keeps the flags of a process in one object, so that two programs with a --k cannot
be loaded together. Here a module defines its own by the same functions, a program
adopts those of the modules that it uses, and `FLAGS` are those of the program that
runs.
"""

import difflib
import json
import math
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags

import gfa_jax
from gfa_jax.datasets.arrays import open_input

Error = flags.Error

# Files and folders that are not only read, or not of the results.
_FILES = ("config", "output_dir", "checkpoint", "previous", "source", "target")
_FILES += ("path", "output")
# What a process of a job is, which a report of another job does not know.
_OF_A_PROCESS = ("process_id", "coordinator")

_every_program = flags.FlagValues()
flags.DEFINE_string(
    "config",
    None,
    "Runs again what report.json of a run says. Flags beside it win.",
    flag_values=_every_program,
)


class _Defined:
    """The flags of one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        # All that a command line may set.
        self.values = flags.FlagValues()
        self.values.mark_as_parsed()
        self.values["config"] = _every_program["config"]
        # The names of those that are files or folders to read.
        self.inputs: set[str] = set()
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


def _define(kind: str, *, is_input: bool = False) -> Any:
    define = getattr(flags, f"DEFINE_{kind}")

    def define_here(name: str, *arguments: Any, **options: Any) -> None:
        defined = _of_caller()
        define(name, *arguments, flag_values=defined.values, **options)
        defined.shown.setdefault(defined.module, []).append(name)
        if is_input:
            defined.inputs.add(name)

    return define_here


DEFINE_bool = _define("bool")
DEFINE_enum = _define("enum")
DEFINE_float = _define("float")
DEFINE_input = _define("string", is_input=True)
DEFINE_integer = _define("integer")
DEFINE_list = _define("list")
DEFINE_multi_enum = _define("multi_enum")
DEFINE_multi_string = _define("multi_string")
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

    Help and report show those of the `names`, by default all. Flags that the calling
    module defined before are its own.
    """
    defined = _of_caller()
    other = _modules[module.__name__]
    own = defined.shown.get(defined.module, ())
    for name in other.values:
        flag = other.values[name]
        if name not in own and not (
            name in defined.values and flag is defined.values[name]
        ):
            defined.values[name] = flag  # refused where it is another one
    defined.inputs |= other.inputs
    for owner, shown in other.shown.items():
        kept = [n for n in shown if n not in own and (not names or n in names)]
        if kept:
            defined.shown.setdefault(owner, []).extend(kept)


def require(*names: str) -> None:
    """Refuses command lines of the calling module's program without these flags."""
    _of_caller().required += names


def parse(program: ModuleType, argv: Sequence[str]) -> str | None:
    """Makes `FLAGS` those of a program, as a command line with its name sets them.

    Returns a warning, where a run of another version is repeated.

    Raises:
        Error: a flag that is not known, out of its range or missing.
    """
    defined, warning = _modules[program.__name__], None
    rest: list[Any]
    for name in defined.values:
        defined.values[name].unparse()
    _, *rest = defined.values(list(argv))
    places = getattr(program, "POSITIONAL", ())
    if places and rest and isinstance(defined.values[places[-1]], flags.MultiFlag):
        last = len(places) - 1
        rest[last:] = [rest[last:]]  # it takes all that is left
    if len(rest) > len(places):
        expected = "".join(f" {name.upper()}" for name in places)
        raise Error(
            f"got {' '.join(rest)!r}; expected{expected and expected + ' and'} flags "
            "only: --name=value"
        )
    for name, text in zip(places, rest, strict=False):
        defined.values[name].parse(text)
    if defined.values["config"].value is not None:
        warning = _read_config(defined, defined.values["config"].value)
    for name in defined.values:
        value = defined.values[name].value
        if isinstance(value, float) and not math.isfinite(value):  # within no bounds
            raise Error(f"--{name}={value}; expected a finite number")
    for name in defined.required:
        if defined.values[name].value in (None, []):
            raise Error(f"--{name} is missing; this program needs it")
    FLAGS._defined = defined
    return warning


def _read_config(defined: _Defined, path: str) -> str | None:
    """Sets what the command line left, by the options of a report."""
    given, own = f"--config={path}", _name(defined)
    try:
        with open_input(path) as file:
            report = json.loads(file.read())
        options = report["options"]
        program, version = report["program"], report["environment"]["gfa_jax"]
        values = [*options.items()]
    except (OSError, RecursionError, ValueError) as error:
        raise Error(f"{given}: {error}; expected report.json of a run") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise Error(f"{given}: expected report.json of a run of {own}") from error
    if program != own:
        raise Error(f"{given} is of {program}, not of {own}; run {program} with it")
    known = [name for names in defined.shown.values() for name in names]
    for name, value in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Error(f"{given}: {own} has no option {name!r}{hint}")
        flag = defined.values[name]
        if value is None or flag.present or name in _OF_A_PROCESS:
            continue
        text: Any = value if isinstance(flag, flags.MultiFlag) else str(value)
        if isinstance(value, list) and text is not value:
            text = ",".join(map(str, value))
        try:
            flag.parse(text)
        except flags.Error as error:
            raise Error(f"{given}: {error}") from error
    if version == gfa_jax.__version__:
        return None
    return (
        f"{given} is of gfa_jax {version}, this is {gfa_jax.__version__}; results may "
        "differ"
    )


def _name(defined: _Defined) -> str:
    return defined.module.removesuffix(".__main__").rpartition(".")[2]


def program() -> str:
    """Returns the name of the program that runs."""
    return _name(FLAGS._defined)


def inputs() -> dict[str, str]:
    """Returns the files and folders that the running program reads, by flag."""
    given = {name: FLAGS[name].value for name in sorted(FLAGS._defined.inputs)}
    return {name: path for name, path in given.items() if path is not None}


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
        more = "--config=report.json runs again what a report says;"
        return "\n".join([*lines, "", f"{more} --help=all has {count} more."])
    for owner, names in (*defined.shown.items(), ("Every program", ["config"])):
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


class Completion(NamedTuple):
    """What a shell completes of a flag: `values` are choices, or "files" alone.

    A flag of a `place`, from 1 on, may be given without its name.
    """

    name: str
    about: str
    is_switch: bool
    values: Sequence[str]
    place: int | None


def completions(program: ModuleType) -> list[Completion]:
    """Lists the flags of a program as a shell completes them."""
    defined, found = _modules[program.__name__], []
    shown = [name for names in defined.shown.values() for name in names]
    for name in [*shown, "config"]:
        flag = defined.values[name]
        about = (flag.help or "").partition(". ")[0].rstrip(".")
        values = getattr(flag.parser, "enum_values", [])
        if name in defined.inputs or name in _FILES:
            values = ["files"]
        places = getattr(program, "POSITIONAL", ())
        place = places.index(name) + 1 if name in places else None
        found.append(Completion(name, about, bool(flag.boolean), values, place))
    return found


def _explain(flag: flags.Flag) -> tuple[str, str, str]:
    """Returns how a flag is written, its help and its default."""
    switch = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    usual = (flag.default_as_str or "").strip("'")
    return switch, flag.help or "", f" (default: {usual})" if usual else ""
