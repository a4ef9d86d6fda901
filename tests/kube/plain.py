"""JSON values, told apart in a way that type checkers follow."""

from typing import Any, TypeAlias, TypeGuard

Json: TypeAlias = dict[str, Any]


def as_map(value: object) -> Json | None:
    return value if _is_map(value) else None


def as_list(value: object) -> list[Any] | None:
    return value if _is_list(value) else None


def _is_map(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
