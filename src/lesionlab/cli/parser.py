"""The command line's parser: what is not there, option, command or choice, is refused with the nearest that is."""

import argparse
from collections.abc import Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser that leaves no argument over to the one above it."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse; an unknown option is said before anything that is missing."""
        if self._subparsers is None and args is not None:
            self._refuse([text for text in _before_dashes(args) if self._is_unknown(text)])
        found, left = super().parse_known_args(args, namespace)
        self._refuse(left)
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from lesionlab.recipe import nearest

            error.message += nearest(value, [str(choice) for choice in action.choices or ()])
            raise

    def _is_unknown(self, text: str) -> bool:
        name = text.partition("=")[0]
        is_option = name.startswith("--") and " " not in text
        return is_option and not any(option.startswith(name) for option in self._option_string_actions)

    def _refuse(self, unknown: list[str]) -> None:
        if not unknown:
            return
        from lesionlab.recipe import nearest

        options = [option for option in self._option_string_actions if option.startswith("--")]
        hints = [nearest(text.partition("=")[0], options) if text.startswith("-") else "" for text in unknown]
        self.error("unrecognized arguments: " + " ".join(f"{a}{hint}" for a, hint in zip(unknown, hints, strict=True)))


def _before_dashes(args: Sequence[str]) -> Sequence[str]:
    return args[: args.index("--")] if "--" in args else args
