"""Which call a piece belongs to: upstreams number them, or name them, or do neither."""

from hashlib import blake2b

from gateway.translate.messages_over_chat.blocks import Blocks, CallBlock
from gateway.translate.messages_over_chat.chunks import CallFunction, CallPart


class Calls:
    """The calls of one answer. ``response_id`` makes ids for calls that come without one: the same for the same answer."""

    __slots__ = ("_blocks", "_by_id", "_by_index", "_count", "_last", "_response_id", "output_bytes")

    def __init__(self, blocks: Blocks, response_id: str) -> None:
        self._blocks = blocks
        self._response_id = response_id
        self._by_index: dict[int, CallBlock] = {}
        self._by_id: dict[str, CallBlock] = {}
        self._last: CallBlock | None = None
        self._count = 0
        #: UTF-8 bytes of names and arguments.
        self.output_bytes = 0

    def add(self, part: CallPart) -> None:
        """Add a call, or a piece of one. Raises UpstreamFailure for pieces of a call that has ended."""
        function = part.function or CallFunction()
        name, arguments = function.name or "", function.text
        given_id = part.id if isinstance(part.id, str) else ""
        index = part.index if type(part.index) is int else None
        call = self._known(index, given_id, name)
        if call is None:
            if not (given_id or name or arguments):
                return
            call = self._begin(index)
        self._last = call
        self.output_bytes += len(name.encode()) + len(arguments.encode())
        if not call.is_open:
            self._name(call, given_id, name)
        if arguments:
            self._blocks.add_arguments(call, arguments)

    def add_function(self, function: CallFunction) -> None:
        """Add a call of the old kind, of which there is one, or a piece of it."""
        self.add(CallPart(index=-1, function=function))

    def _known(self, index: int | None, given_id: str, name: str) -> CallBlock | None:
        if index is None:
            last = self._last
            if given_id:
                return self._by_id.get(given_id)
            return None if last is None or (name and last.name) else last
        call = self._by_index.get(index)
        if call is None or not given_id or call.given_id in {"", given_id}:
            return call
        # Another id under the same number: some upstreams number all calls alike, and some make up an id for every piece.
        return self._by_id.get(given_id) or (None if name else call)

    def _begin(self, index: int | None) -> CallBlock:
        seed = f"{self._response_id}:{self._count}".encode()
        call = CallBlock(f"toolu_{blake2b(seed, digest_size=12).hexdigest()}")
        self._count += 1
        if index is not None:
            self._by_index[index] = call
        self._blocks.begin_call(call)
        return call

    def _name(self, call: CallBlock, given_id: str, name: str) -> None:
        # Two calls with one id could not be told apart by their results, so the second keeps ours.
        if given_id and not call.given_id and given_id not in self._by_id:
            call.given_id = given_id
            self._by_id[given_id] = call
        # Some upstreams say the whole name with every piece.
        if name and name != call.name:
            call.name += name
