"""Answers of an API server that are not objects: `Status`, in the words of the real one."""

from typing import Any

from tests.kube.plain import Json
from tests.kube.resources import QUANTITY, Resource


class Refused(Exception):
    """What is not done. `status` None: in plain text, as for a path that is not served."""

    def __init__(self, code: int, status: Json | None) -> None:
        super().__init__(f"{code} {status}")
        self.code = code
        self.status = status


def refused(code: int, message: str, reason: str = "", **details: Any) -> Refused:
    said = failure(code, message, reason)
    return Refused(code, said | ({"details": details} if details else {}))


def failure(code: int, message: str, reason: str = "") -> Json:
    said: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**said, "message": message, **({"reason": reason} if reason else {}), "code": code}


def not_served() -> Refused:
    return Refused(404, None)


def not_found(resource: Resource, name: str) -> Refused:
    return refused(
        404, f'{resource.qualified} "{name}" not found', "NotFound", **_details(resource, name)
    )


def exists(resource: Resource, name: str) -> Refused:
    message = f'{resource.qualified} "{name}" already exists'
    return refused(409, message, "AlreadyExists", **_details(resource, name))


def precondition(resource: Resource, name: str, what: str) -> Refused:
    """Of the kind, here, and not of the resource."""
    message = f'Operation cannot be fulfilled on {_kind(resource)} "{name}": {what}'
    details = {**_details(resource, name), "kind": resource.kind}
    return refused(409, message, "Conflict", **details)


def bad_name(resource: Resource, name: str) -> Refused:
    said = (
        f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case'
        " alphanumeric characters, '-' or '.', and must start and end with an alphanumeric"
        " character (e.g. 'example.com', regex used for validation is"
        r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    return invalid(resource, name, "metadata.name", said)


def no_quantity(resource: Resource, name: str, field: str, value: str) -> Refused:
    said = f"Invalid value: \"{value}\": {field} in body should match '{QUANTITY}'"
    return invalid(resource, name, field, said)


def invalid(resource: Resource, name: str, field: str, said: str) -> Refused:
    return refused(
        422,
        f'{_kind(resource)} "{name}" is invalid: {field}: {said}',
        "Invalid",
        name=name,
        group=resource.group,
        kind=resource.kind,
        causes=[{"reason": "FieldValueInvalid", "message": said, "field": field}],
    )


def forbidden(resource: Resource, user: str, verb: str, named: tuple[str, str]) -> Refused:
    """`named`: the namespace and the object."""
    namespace, name = named
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    message = (
        f'{what} is forbidden: User "{user}" cannot {verb} resource'
        f' "{resource.plural}" in API group "{resource.group}"{where}'
    )
    return refused(403, message, "Forbidden", **_details(resource, name))


def untyped(resource: Resource, name: str, complaint: str) -> Refused:
    """HTTP 500, and no reason."""
    api = f"{resource.group}/{resource.version}, Kind={resource.kind}"
    return refused(500, f"failed to create typed patch object (/{name}; {api}): {complaint}")


def field_conflict(causes: list[tuple[str, str]]) -> Refused:
    """`causes`: whose each field is, as the server names them, and the field."""
    count = len(causes)
    if count == 1:
        [(manager, field)] = causes
        message = f"Apply failed with 1 conflict: conflict with {manager}: {field}"
    else:
        lines = [
            f"conflicts with {one}:\n"
            + "\n".join(f"- {path}" for who, path in causes if who == one)
            for one in dict.fromkeys(manager for manager, _ in causes)
        ]
        message = f"Apply failed with {count} conflicts: " + "\n".join(lines)
    return refused(
        409,
        message,
        "Conflict",
        causes=[
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
            for who, path in causes
        ],
    )


def expired(asked: int, oldest: int) -> Json:
    return failure(410, f"too old resource version: {asked} ({oldest})", "Expired")


def deleted(resource: Resource, name: str, uid: str) -> Json:
    details = {**_details(resource, name), "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def _kind(resource: Resource) -> str:
    return ".".join(filter(None, (resource.kind, resource.group)))


def _details(resource: Resource, name: str) -> Json:
    group = {"group": resource.group} if resource.group else {}
    return {**({"name": name} if name else {}), **group, "kind": resource.plural}
