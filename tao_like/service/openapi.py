"""The OpenAPI document: ``python -m tao_like.service.openapi > docs/openapi.json``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any


def document() -> dict[str, Any]:
    """The document as the application makes it."""
    from tao_like.service.app import create_app
    from tao_like.service.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(Path(folder)), manages=False)
        app.state.context.store.close()
        return app.openapi()


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))
