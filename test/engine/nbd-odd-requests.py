"""
Odd requests by libnbd, against any NBD export: nbd-odd-requests.py SOCKET EXPORT SIZE.

Each check compares what the server answers with what proto.md of NetworkBlockDevice/nbd says. Ends with status 0 and one
line per check, or with the first failure. Writes all over the export.
"""
import errno
import os
import sys

import nbd

SOCKET, EXPORT, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
MIB = 1024 * 1024


def connect(structured=True, contexts=("base:allocation",), opt_mode=False, handshake=None):
    handle = nbd.NBD()
    handle.set_export_name(EXPORT)
    handle.set_request_structured_replies(structured)
    for context in contexts:
        handle.add_meta_context(context)
    # Everything may be sent: it is the server that is asked to refuse.
    handle.set_strict_mode(0)
    if handshake is not None:
        handle.set_handshake_flags(handshake)
    if opt_mode:
        handle.set_opt_mode(True)
    handle.connect_unix(SOCKET)
    return handle


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError("%s: expected %r, actual %r" % (what, expected, actual))


def refused(expected, what, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as error:
        equal(errno.errorcode.get(error.errnum), errno.errorcode[expected], what)
        return
    raise AssertionError("%s: was not refused" % what)


def check_forms(structured):
    h = connect(structured)
    form = "structured" if structured else "simple"
    equal(h.get_structured_replies_negotiated(), structured, "structured replies")
    equal(h.get_protocol(), "newstyle-fixed", "protocol")
    equal(h.get_size(), SIZE, "size")
    equal(h.can_df(), structured, "can_df")
    block = h.get_block_size(nbd.SIZE_MINIMUM)
    equal(h.get_block_size(nbd.SIZE_MAXIMUM), 32 * MIB, "maximum payload")

    # Nothing: succeeds or is refused, but the connection lives.
    for call in (lambda: h.pread(0, 0), lambda: h.pwrite(b"", 0), lambda: h.trim(0, 0), lambda: h.zero(0, 0),
                 lambda: h.cache(0, 0)):
        try:
            call()
        except nbd.Error as error:
            equal(errno.errorcode.get(error.errnum), "EINVAL", form + " zero length")

    data = os.urandom(block)
    h.pwrite(data, SIZE - block, nbd.CMD_FLAG_FUA)
    equal(h.pread(block, SIZE - block), data, form + " last block")
    for offset, length in ((SIZE, block), (SIZE - block, 2 * block), (1 << 62, block), ((1 << 63) - block, block)):
        refused(errno.EINVAL, "%s read at %d" % (form, offset), h.pread, length, offset)
        refused(errno.EINVAL, "%s write at %d" % (form, offset), h.pwrite, bytes(length), offset)
        refused(errno.EINVAL, "%s trim at %d" % (form, offset), h.trim, length, offset)
        refused(errno.EINVAL, "%s zero at %d" % (form, offset), h.zero, length, offset)
        refused(errno.EINVAL, "%s cache at %d" % (form, offset), h.cache, length, offset)
    for offset, length in ((1, block), (0, 1), (block - 1, block)):
        refused(errno.EINVAL, form + " unaligned read", h.pread, length, offset)
        refused(errno.EINVAL, form + " unaligned write", h.pwrite, bytes(length), offset)
        refused(errno.EINVAL, form + " unaligned zero", h.zero, length, offset)

    big = os.urandom(32 * MIB)
    h.pwrite(big, block)
    equal(h.pread(32 * MIB, block) == big, True, form + " 32 MiB")
    refused(errno.EINVAL, form + " write of 33 MiB", h.pwrite, bytes(33 * MIB), 0)
    refused(errno.EOVERFLOW if structured else errno.EINVAL, form + " read of 33 MiB", h.pread, 33 * MIB, 0)
    equal(h.pread(block, block), big[:block], form + " after the refusals")

    for flags in (1 << 1, 1 << 3, 1 << 9, 1 << 15):
        refused(errno.EINVAL, form + " read with flag %#x" % flags, h.pread, block, 0, flags)
        refused(errno.EINVAL, form + " write with flag %#x" % flags, h.pwrite, data, 0, flags)
        refused(errno.EINVAL, form + " flush with flag %#x" % flags, h.flush, flags)
        refused(errno.EINVAL, form + " trim with flag %#x" % flags, h.trim, block, 0, flags)
        refused(errno.EINVAL, form + " cache with flag %#x" % flags, h.cache, block, 0, flags)

    h.pwrite(big[: 3 * MIB], 0)
    h.zero(MIB, MIB, nbd.CMD_FLAG_NO_HOLE)
    h.zero(block, 0)
    equal(h.pread(3 * MIB, 0) == bytes(block) + big[block:MIB] + bytes(MIB) + big[2 * MIB : 3 * MIB], True, form + " zero")
    try:
        h.zero(MIB, 2 * MIB, nbd.CMD_FLAG_FAST_ZERO)
        equal(h.pread(MIB, 2 * MIB) == bytes(MIB), True, form + " fast zero")
    except nbd.Error as error:
        equal(errno.errorcode.get(error.errnum), errno.errorcode[errno.ENOTSUP], form + " fast zero")
        equal(h.pread(MIB, 2 * MIB) == big[2 * MIB : 3 * MIB], True, form + " a refused fast zero changes nothing")
    h.trim(SIZE, 0, nbd.CMD_FLAG_FUA)
    h.cache(SIZE, 0)
    h.zero(SIZE, 0)
    equal(h.pread(MIB, SIZE - MIB) == bytes(MIB), True, form + " zero of the whole export")
    h.flush()
    if not structured:
        refused(errno.EINVAL, "simple read with DF", h.pread, block, 0, nbd.CMD_FLAG_DF)
    h.shutdown()
    print("ok", form)


def check_fragments():
    h = connect()
    data = os.urandom(8 * MIB)
    h.pwrite(data, 0)
    for flags, most in ((0, 1 << 30), (nbd.CMD_FLAG_DF, 1)):
        chunks = []
        whole = h.pread_structured(8 * MIB, 0, lambda buf, off, status, err: chunks.append((off, len(buf), status)), flags)
        equal(whole == data, True, "structured read")
        chunks.sort()
        equal(sum(length for _, length, _ in chunks), 8 * MIB, "chunks cover the request")
        end = 0
        for offset, length, _ in chunks:
            equal(offset, end, "chunks do not overlap")
            end += length
        equal(len(chunks) <= most, True, "number of chunks")
    h.shutdown()
    print("ok fragments")


def check_block_status():
    h = connect()
    block = h.get_block_size(nbd.SIZE_MINIMUM)
    equal(h.can_meta_context("base:allocation"), True, "base:allocation")
    h.zero(SIZE, 0)
    h.pwrite(os.urandom(MIB), 4 * MIB)

    def extents(length, offset, flags=0):
        seen = []
        h.block_status(length, offset, lambda context, at, entries, err: seen.append((context, at, entries)), flags)
        equal([(context, at) for context, at, _ in seen], [("base:allocation", offset)], "one chunk per context")
        entries = seen[0][2]
        return list(zip(entries[0::2], entries[1::2]))

    at = 0
    while at < SIZE:
        for length, flags in extents(SIZE - at, at):
            if flags & nbd.STATE_ZERO:
                for part in range(at, at + length, 16 * MIB):
                    size = min(16 * MIB, at + length - part)
                    equal(h.pread(size, part) == bytes(size), True, "what is said to be zero")
            at += length
    equal(at, SIZE, "extents cover the export")
    one = extents(16 * MIB, 0, nbd.CMD_FLAG_REQ_ONE)
    equal(len(one) == 1 and one[0][0] <= 16 * MIB, True, "REQ_ONE")
    refused(errno.EINVAL, "status beyond the end", extents, block, SIZE)
    refused(errno.EINVAL, "status of nothing", extents, 0, 0)
    h.shutdown()
    plain = connect(contexts=())
    refused(errno.EINVAL, "status without a context", plain.block_status, block, 0, lambda *_: 0)
    plain.shutdown()
    print("ok block status")


def check_options():
    h = connect(opt_mode=True)
    names = []
    h.opt_list(lambda name, description: names.append(name))
    equal(EXPORT in names, True, "opt_list names the export")
    h.opt_info()
    equal(h.get_size(), SIZE, "opt_info size")
    h.set_full_info(True)
    h.opt_info()
    equal(h.get_canonical_export_name(), EXPORT, "canonical name")
    contexts = []
    h.opt_list_meta_context(contexts.append)
    equal(contexts, ["base:allocation"], "opt_list_meta_context")
    h.set_export_name("no such export")
    for call in (h.opt_info, h.opt_go):
        try:
            call()
        except nbd.Error:
            continue
        raise AssertionError("an unknown export was accepted")
    h.set_export_name(EXPORT)
    h.opt_go()
    equal(h.get_size(), SIZE, "opt_go after refusals")
    h.shutdown()
    h = connect(opt_mode=True)
    h.opt_abort()
    equal(h.aio_is_closed(), True, "opt_abort closes")
    print("ok options")


def check_old_handshake():
    # Without FIXED_NEWSTYLE libnbd can only send NBD_OPT_EXPORT_NAME; without NO_ZEROES it wants 124 zeroes.
    for handshake in (0, nbd.HANDSHAKE_FLAG_NO_ZEROES):
        h = connect(structured=False, contexts=(), handshake=handshake)
        equal(h.get_protocol(), "newstyle", "protocol")
        equal(h.get_size(), SIZE, "size by EXPORT_NAME")
        h.pread(4096, 0)
        h.shutdown()
    print("ok old handshake")


def check_two_connections():
    one, two = connect(), connect(structured=False, contexts=())
    equal(one.can_multi_conn(), two.can_multi_conn(), "multi conn is a fact of the export")
    if one.can_multi_conn():
        for turn in range(16):
            data = os.urandom(64 * 1024)
            (one, two)[turn % 2].pwrite(data, turn * 65536)
            (one, two)[turn % 2].flush()
            equal((two, one)[turn % 2].pread(65536, turn * 65536), data, "the other connection sees it")
    one.shutdown()
    equal(len(two.pread(4096, 0)), 4096, "one client's end is not the other's")
    two.shutdown()
    print("ok two connections")


def check_many_in_flight():
    h = connect()
    count, size = 200, 65536
    data = [os.urandom(size) for _ in range(count)]
    span = min(count, SIZE // size)
    cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data[i])), i * size) for i in range(span)]
    while cookies:
        h.poll(-1)
        cookies = [cookie for cookie in cookies if not h.aio_command_completed(cookie)]
    buffers = [nbd.Buffer(size) for _ in range(span)]
    cookies = [h.aio_pread(buffers[i], i * size) for i in range(span)]
    while cookies:
        h.poll(-1)
        cookies = [cookie for cookie in cookies if not h.aio_command_completed(cookie)]
    for i in range(span):
        equal(bytes(buffers[i].to_bytearray()) == data[i], True, "request %d of many" % i)
    # DISC with requests in flight: the server must finish them and close.
    for i in range(span):
        h.aio_pread(buffers[i], i * size)
    h.shutdown()
    print("ok many in flight")


check_forms(True)
check_forms(False)
check_fragments()
check_block_status()
check_options()
check_old_handshake()
check_two_connections()
check_many_in_flight()
