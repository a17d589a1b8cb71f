"""What a tool costs in the context of a model, estimated.

Pure. Tokenizers download their vocabulary or bring megabytes of it, and each provider puts a tool into words of its
own. So this counts bytes: of the name, the description and the input schema as compact JSON, which is what providers
take. Most clients send no output schema to the model.

Measured by `tests/dag_files/test_tokens.py`, with OpenAI's o200k_base and Anthropic's only published tokenizer, on 106
tools with English texts: all together within 3 %, nine of ten within 15 %. In other scripts, it can be half, or two and
a half times, the real number.
"""

import json
from collections.abc import Mapping

from dagcall.plain_json import Json

BYTES_PER_TOKEN = 4.0


def estimated_tokens(tool: Mapping[str, Json]) -> int:
    """Return about how many tokens a tool's definition takes, given as clients get it."""
    return round(len(text_read(tool).encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def text_read(tool: Mapping[str, Json]) -> str:
    """Return the part of a tool that models read, as compact JSON."""
    read = {key: tool[key] for key in ("name", "description", "inputSchema")}
    return json.dumps(read, ensure_ascii=False, separators=(",", ":"))
