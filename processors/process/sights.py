"""What a supervisor tells of an instance."""

from processors.driver import Instance, Sight
from processors.process.engines import HOST
from processors.process.life import Life
from schemas.status import ContainerStatus, Health, PodStatus, SlotStatus

CONTAINER = "server"
ENGINE_FAILED = "engine_failed"


def sight(life: Life, instance: Instance, node: str) -> Sight:
    """How an instance is that is wanted: its one process passes for a pod."""
    health = _health(life)
    url = f"http://{HOST}:{life.server.port}" if life.server and health == "ready" else ""
    message = _message(life, health)
    served, gpus = instance.served, instance.served.manifest.resources.gpus
    pod = PodStatus(
        name=life.place.pod,
        phase="Running" if life.pid else "Pending",
        node=node,
        reason=_reason(life),
        message=message,
        ready=bool(url),
        gpus=gpus,
        activation=served.id,
        containers=(_container(life, message, ready=bool(url)),),
    )
    status = SlotStatus(
        health=health,
        model=served.model,
        activation=served.id,
        message=message,
        url=url,
        replicas=1,
        replicas_ready=int(bool(url)),
        gpus=gpus,
        pods=(pod,),
    )
    return Sight(status, url, ENGINE_FAILED if health == "failed" else "")


def resting(instance: Instance, *, ended: bool) -> Sight:
    """How an instance is that is kept, but not to run."""
    message = "stopped: scaled to 0 replicas" if ended else "stopping"
    health: Health = "absent" if ended else "degraded"
    served = instance.served
    return Sight(SlotStatus(health, served.model, served.id, message))


def _health(life: Life) -> Health:
    if life.failed:
        return "failed"
    return "starting" if life.health == "absent" else life.health


def _reason(life: Life) -> str:
    if life.pid:
        return ""
    return "CrashLoopBackOff" if life.deaths else "Starting"


def _message(life: Life, health: Health) -> str:
    if health == "ready":
        return ""
    if life.answer == "wrong" and life.server is not None:
        return f"it answers {life.server.health} with neither 200 nor 503"
    if health == "degraded":
        return "it runs, and does not answer"
    if not life.deaths:
        return ""
    how = "" if life.exit_code is None else f" with exit code {life.exit_code}"
    return f"the server ended{how}:\n{life.words}" if life.words else f"the server ended{how}"


def _container(life: Life, message: str, *, ready: bool) -> ContainerStatus:
    return ContainerStatus(
        name=CONTAINER,
        state="running" if life.pid else "waiting",
        reason=_reason(life),
        message=message,
        ready=ready,
        restarts=life.restarts,
        exit_code=life.exit_code,
    )
