"""Worker processes, and how they stop: granian, told what the settings say."""

from granian.constants import Interfaces, Loops
from granian.server import Server as Granian

from services.gateway.config import GatewayConfig


def serve(config: GatewayConfig) -> int:
    """Listen until SIGTERM or SIGINT; the exit status."""
    granian = Granian(
        "services.gateway",
        address=config.host,
        port=config.port,
        workers=config.workers,
        interface=Interfaces.RSGI,
        loop=Loops.asyncio,
        websockets=False,
        backlog=2048,
        workers_kill_timeout=int(config.shutdown_grace_s),
        log_enabled=False,
    )

    def load(_target: str) -> object:
        """Runs in each worker, so that nothing heavy is imported, and no channel made, before the fork."""
        from services.gateway.server import Server

        return Server(config)

    granian.serve(target_loader=load)
    return 0
