"""Fetch one file from the first mirror that has it, whole and verified."""

from .dataset import DataError
from .store import atomic

TIMEOUT = 20  # seconds without an answer before the next mirror is tried


def download(urls, path, verify, by_hand):
    """Write the first of `urls` whose bytes pass `verify(bytes)` to `path`.

    verify:  raises DataError for bytes that are not the file.
    by_hand: where a person can put the file instead; the end of the error message.
    Raises DataError naming every mirror and what went wrong there; nothing is left at `path`.
    """
    failures = []
    for url in urls:
        try:
            content = _fetch(url, path.name)
            verify(content)
        except (OSError, DataError) as error:
            failures.append(f"  {url}: {getattr(error, 'reason', None) or error}")
            continue
        with atomic(path) as file:
            file.write(content)
        return
    tried = "\n".join(failures)
    raise DataError(f"{path.name} could not be downloaded. Tried:\n{tried}\n{by_hand}")


def _fetch(url, title):
    """The bytes at `url`, with a progress bar; OSError where they cannot be had or end early."""
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    try:
        with urlopen(Request(url, headers={"User-Agent": "minigen"}), timeout=TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0)
            chunks = []
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=title) as bar:
                while chunk := response.read(1 << 16):
                    chunks.append(chunk)
                    bar.update(len(chunk))
    except HTTPException as error:  # not an OSError: a connection that speaks no HTTP, or stops half-way
        raise OSError(str(error) or type(error).__name__) from error
    content = b"".join(chunks)
    if size and len(content) != size:
        raise OSError(f"ended after {len(content)} of {size} bytes")
    return content
