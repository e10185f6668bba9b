"""Prints what lets a shell complete programs, flags, their choices and files.

    gfa completion bash > ~/.local/share/bash-completion/completions/gfa
    gfa completion zsh > ~/.zfunc/_gfa     # or another folder of $fpath

It is made of the flags of this version; print it again after an update.
"""

import importlib
import shlex
from collections.abc import Iterator

from gfa_jax.programs import flags

POSITIONAL = ("shell",)
flags.DEFINE_enum("shell", None, ["bash", "zsh"], "Which one.")
flags.require("shell")

_BASH = r"""_gfa() {
    local word=${COMP_WORDS[COMP_CWORD]} flag= values= IFS=$' \t\n'
    # Bash splits a word at "=".
    if [[ $word == = ]]; then
        word= flag=${COMP_WORDS[COMP_CWORD-1]}
    elif [[ ${COMP_WORDS[COMP_CWORD-1]} == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case ${COMP_WORDS[1]}:$flag in
@cases
    esac
    (( COMP_CWORD == 1 )) && values="@names"
    if [[ $values == files ]]; then
        IFS=$'\n'
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$word"))
        return
    fi
    COMPREPLY=($(compgen -W "$values" -- "$word"))
    if [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -F _gfa gfa"""
_ZSH = r"""#compdef gfa
_gfa() {
    local program=$words[2]
    if (( CURRENT == 2 )); then
        local -a programs
        programs=(@names)
        _describe program programs
        return
    fi
    shift words
    (( CURRENT-- ))
    case $program in
@cases
    esac
}
if [[ $funcstack[1] == _gfa ]]; then _gfa "$@"; else compdef _gfa gfa; fi"""


def main() -> None:
    """Prints the script of the shell that is named."""
    from gfa_jax.programs.main import PROGRAMS

    is_bash, cases = flags.FLAGS.shell == "bash", []
    for name in PROGRAMS:
        program = importlib.import_module(f"gfa_jax.programs.{name}")
        cases += (_bash if is_bash else _zsh)(name, flags.completions(program))
    names = [*PROGRAMS]
    if not is_bash:
        names = [shlex.quote(f"{name}:{does}") for name, does in PROGRAMS.items()]
    script = (_BASH if is_bash else _ZSH).replace("@names", " ".join(names))
    print(script.replace("@cases", "\n".join(f"        {case}" for case in cases)))


def _bash(program: str, found: list[flags.Completion]) -> Iterator[str]:
    switches, without_name = [], []
    for flag in found:
        switches += _switches(flag)
        values = " ".join(flag.values)
        if flag.place is not None:
            without_name = [f'[[ $word != -* ]] && values="{values}"']
        if values:
            yield f'{program}:--{flag.name}) values="{values}" ;;'
    given = "; ".join([f'values="{" ".join(switches)}"', *without_name])
    yield f"{program}:) {given} ;;"


def _zsh(program: str, found: list[flags.Completion]) -> Iterator[str]:
    yield f"{program}) _arguments \\"
    for flag in found:
        about = flag.about.translate({ord("["): "(", ord("]"): ")", ord(":"): r"\:"})
        values = f"({' '.join(flag.values)})" if flag.values else ""
        values = "_files" if flag.values == ["files"] else values
        for switch in _switches(flag):
            takes = "" if switch[-1] != "=" else f":{flag.name}:{values}"
            yield "    " + shlex.quote(f"{switch}[{about}]{takes}") + " \\"
        if flag.place is not None:
            yield "    " + shlex.quote(f"{flag.place}:{flag.name}:{values}") + " \\"
    yield ";;"


def _switches(flag: flags.Completion) -> list[str]:
    takes_value = flag.values or not flag.is_switch
    without = [f"--no{flag.name}"] if flag.is_switch else []
    return [f"--{flag.name}=" if takes_value else f"--{flag.name}", *without]
