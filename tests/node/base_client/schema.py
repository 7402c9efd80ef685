"""The base messages, in a descriptor pool of their own: a node's extensions are unknown fields here."""

from __future__ import annotations

from types import SimpleNamespace

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
    "bool": FIELD.TYPE_BOOL,
    "int64": FIELD.TYPE_INT64,
    "uint64": FIELD.TYPE_UINT64,
}

# Of each field: number, type, name; "?" marks an optional one, "*" a repeated one, "|" a member of the oneof.
MESSAGES = {
    "Empty": "",
    "CacheRequest": "1 Get |get, 2 Put |put, 3 Insert |insert, 4 Del |del, 5 Remove |remove, 6 MgmtRequest |mgmt_req",
    "Ack": "1 GetAck |get_ack, 2 PutAck |put_ack, 3 DelAck |del_ack, 4 MgmtAck |mgmt_ack, 5 Error |error",
    "Get": "1 string cache_name, 2 string entry",
    "GetAck": "1 string cache_name, 2 string entry, 3 bytes ?value",
    "Put": "1 string cache_name, 2 string entry, 3 bytes value, 4 string ?req_id",
    "PutAck": "1 string ?req_id, 2 bool ?mod_res",
    "Insert": "1 string cache_name, 2 string entry, 3 bytes value, 4 string req_id, 5 AckLevel ack_level",
    "Del": "1 string cache_name, 2 string entry, 3 string ?req_id",
    "DelAck": "1 string ?req_id, 2 bool ?mod_res",
    "Remove": "1 string cache_name, 2 string entry, 3 string req_id, 4 AckLevel ack_level",
    "AckLevel": "1 Empty |level_quorum, 2 Empty |level_once, 3 Empty |level_leader",
    "Error": "1 string error",
    "MgmtRequest": "1 Ping |ping, 2 Health |health, 3 LeaderReq |leader_req, 4 LeaderReqAck |leader_req_ack,"
    "5 LeaderAck |leader_ack, 6 LeaderSwitch |leader_switch, 7 LeaderSwitchPriority |leader_switch_priority,"
    "8 LeaderDead |leader_dead, 9 LeaderSwitchAck |leader_switch_ack",
    "MgmtAck": "1 Pong |pong, 2 HealthAck |health_ack, 3 LeaderInfo |leader_info, 4 LeaderReqAck |leader_req_ack,"
    "5 LeaderAckAck |leader_ack_ack, 6 LeaderSwitchAck |leader_switch_ack",
    "Ping": "",
    "Pong": "",
    "Health": "",
    "HealthAck": "1 uint64 uptime_secs, 2 bool quorum, 3 State state, 4 Leader ?leader, 5 HostHealth *host_health",
    "State": "1 Empty |leader, 2 Empty |leader_dead, 3 Empty |leader_switch, 4 Empty |leader_tx_await,"
    "5 Empty |leadership_requested, 6 Empty |follower, 7 Empty |undefined",
    "Leader": "1 string addr, 2 int64 election_ts, 3 bool connected",
    "HostHealth": "1 string addr, 2 bool connected",
    "LeaderInfo": "1 string ?addr, 2 int64 election_ts, 3 bool has_quorum",
    "LeaderReq": "1 string addr, 2 int64 election_ts",
    "LeaderReqAck": "1 string addr, 2 int64 election_ts",
    "LeaderAck": "1 string addr, 2 int64 election_ts",
    "LeaderAckAck": "1 string addr",
    "LeaderSwitch": "1 string vote_host, 2 int64 election_ts",
    "LeaderSwitchPriority": "1 string vote_host, 2 int64 election_ts",
    "LeaderDead": "1 string vote_host, 2 int64 election_ts",
    "LeaderSwitchAck": "1 string addr",
}


def _add_field(message, number, kind, name):
    mark, name = (name[0], name[1:]) if name[0] in "?*|" else ("", name)
    field = message.field.add(name=name, number=int(number))
    field.label = FIELD.LABEL_REPEATED if mark == "*" else FIELD.LABEL_OPTIONAL
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type, field.type_name = FIELD.TYPE_MESSAGE, f".cache.{kind}"
    if mark == "?" and kind in SCALARS:
        # What the compiler makes of `optional`: a oneof of one.
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    elif mark == "|":
        field.oneof_index = 0
        if not message.oneof_decl:
            message.oneof_decl.add(name="oneof")


def _build():
    file = descriptor_pb2.FileDescriptorProto(name="base/cache.proto", package="cache", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(",")):
            _add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"cache.{name}") for name in MESSAGES}
    return SimpleNamespace(
        **{name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}
    )


base = _build()
