# SPDX-License-Identifier: GPL-2.0-or-later
# cython: language_level=3
"""Which options conntrack's command line has, and which of them go with which command and table: data."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, strlen, strncmp

# Long names: name, option, argument. Of several names for one option, the first is the one in messages.
cdef tuple GENERAL_NAMES = (
    (b"src", OPTION_SOURCE, ARGUMENT_REQUIRED),
    (b"orig-src", OPTION_SOURCE, ARGUMENT_REQUIRED),
    (b"dst", OPTION_DESTINATION, ARGUMENT_REQUIRED),
    (b"orig-dst", OPTION_DESTINATION, ARGUMENT_REQUIRED),
    (b"reply-src", OPTION_REPLY_SOURCE, ARGUMENT_REQUIRED),
    (b"reply-dst", OPTION_REPLY_DESTINATION, ARGUMENT_REQUIRED),
    (b"protonum", OPTION_PROTOCOL, ARGUMENT_REQUIRED),
    (b"timeout", OPTION_TIMEOUT, ARGUMENT_REQUIRED),
    (b"status", OPTION_STATUS, ARGUMENT_REQUIRED),
    (b"zero", OPTION_ZERO, ARGUMENT_NONE),
    (b"event-mask", OPTION_EVENT_MASK, ARGUMENT_REQUIRED),
    (b"tuple-src", OPTION_TUPLE_SOURCE, ARGUMENT_REQUIRED),
    (b"tuple-dst", OPTION_TUPLE_DESTINATION, ARGUMENT_REQUIRED),
    (b"mask-src", OPTION_MASK_SOURCE, ARGUMENT_REQUIRED),
    (b"mask-dst", OPTION_MASK_DESTINATION, ARGUMENT_REQUIRED),
    (b"mark", OPTION_MARK, ARGUMENT_REQUIRED),
    (b"id", OPTION_ID, ARGUMENT_REQUIRED),
    (b"family", OPTION_FAMILY, ARGUMENT_REQUIRED),
    (b"src-nat", OPTION_SOURCE_NAT, ARGUMENT_OPTIONAL),
    (b"dst-nat", OPTION_DESTINATION_NAT, ARGUMENT_OPTIONAL),
    (b"output", OPTION_OUTPUT, ARGUMENT_REQUIRED),
    (b"secmark", OPTION_SECMARK, ARGUMENT_REQUIRED),
    (b"buffer-size", OPTION_BUFFER_SIZE, ARGUMENT_REQUIRED),
    (b"any-nat", OPTION_ANY_NAT, ARGUMENT_OPTIONAL),
    (b"zone", OPTION_ZONE, ARGUMENT_REQUIRED),
    (b"label", OPTION_LABEL, ARGUMENT_REQUIRED),
    (b"label-add", OPTION_LABEL_ADD, ARGUMENT_REQUIRED),
    (b"label-del", OPTION_LABEL_DELETE, ARGUMENT_OPTIONAL),
    (b"orig-zone", OPTION_ORIGINAL_ZONE, ARGUMENT_REQUIRED),
    (b"reply-zone", OPTION_REPLY_ZONE, ARGUMENT_REQUIRED),
    (b"labelmap", OPTION_LABEL_MAP, ARGUMENT_REQUIRED),
    (b"nat-range", OPTION_NAT_RANGE, ARGUMENT_REQUIRED),
    (b"dump", FIRST_COMMAND + COMMAND_LIST_, ARGUMENT_OPTIONAL),
    (b"create", FIRST_COMMAND + COMMAND_CREATE_, ARGUMENT_OPTIONAL),
    (b"add", FIRST_COMMAND + COMMAND_ADD_, ARGUMENT_OPTIONAL),
    (b"update", FIRST_COMMAND + COMMAND_UPDATE_, ARGUMENT_OPTIONAL),
    (b"delete", FIRST_COMMAND + COMMAND_DELETE_, ARGUMENT_OPTIONAL),
    (b"get", FIRST_COMMAND + COMMAND_GET_, ARGUMENT_OPTIONAL),
    (b"flush", FIRST_COMMAND + COMMAND_FLUSH_, ARGUMENT_OPTIONAL),
    (b"event", FIRST_COMMAND + COMMAND_EVENT_, ARGUMENT_OPTIONAL),
    (b"counter", FIRST_COMMAND + COMMAND_COUNT_, ARGUMENT_OPTIONAL),
    (b"stats", FIRST_COMMAND + COMMAND_STATISTICS_, ARGUMENT_NONE),
    (b"version", FIRST_COMMAND + COMMAND_VERSION_, ARGUMENT_NONE),
    (b"help", FIRST_COMMAND + COMMAND_HELP_, ARGUMENT_NONE),
)

# Of the protocols: name, option, the set that the name belongs to. All have an argument.
cdef tuple PROTOCOL_NAMES = (
    (b"sport", OPTION_PORT_SOURCE, NAMES_PORTS),
    (b"orig-port-src", OPTION_PORT_SOURCE, NAMES_PORTS),
    (b"dport", OPTION_PORT_DESTINATION, NAMES_PORTS),
    (b"orig-port-dst", OPTION_PORT_DESTINATION, NAMES_PORTS),
    (b"reply-port-src", OPTION_REPLY_PORT_SOURCE, NAMES_PORTS),
    (b"reply-port-dst", OPTION_REPLY_PORT_DESTINATION, NAMES_PORTS),
    (b"mask-port-src", OPTION_MASK_PORT_SOURCE, NAMES_PORTS),
    (b"mask-port-dst", OPTION_MASK_PORT_DESTINATION, NAMES_PORTS),
    (b"tuple-port-src", OPTION_TUPLE_PORT_SOURCE, NAMES_PORTS),
    (b"tuple-port-dst", OPTION_TUPLE_PORT_DESTINATION, NAMES_PORTS),
    (b"state", OPTION_STATE, NAMES_STATE),
    (b"orig-vtag", OPTION_VTAG_ORIGINAL, NAMES_VTAG),
    (b"reply-vtag", OPTION_VTAG_REPLY, NAMES_VTAG),
    (b"role", OPTION_ROLE, NAMES_ROLE),
    (b"srckey", OPTION_PORT_SOURCE, NAMES_KEYS),
    (b"orig-key-src", OPTION_PORT_SOURCE, NAMES_KEYS),
    (b"dstkey", OPTION_PORT_DESTINATION, NAMES_KEYS),
    (b"orig-key-dst", OPTION_PORT_DESTINATION, NAMES_KEYS),
    (b"reply-key-src", OPTION_REPLY_PORT_SOURCE, NAMES_KEYS),
    (b"reply-key-dst", OPTION_REPLY_PORT_DESTINATION, NAMES_KEYS),
    (b"mask-key-src", OPTION_MASK_PORT_SOURCE, NAMES_KEYS),
    (b"mask-key-dst", OPTION_MASK_PORT_DESTINATION, NAMES_KEYS),
    (b"tuple-key-src", OPTION_TUPLE_PORT_SOURCE, NAMES_KEYS),
    (b"tuple-key-dst", OPTION_TUPLE_PORT_DESTINATION, NAMES_KEYS),
    (b"icmp-type", OPTION_ICMP_TYPE, NAMES_ICMP),
    (b"icmp-code", OPTION_ICMP_CODE, NAMES_ICMP),
    (b"icmp-id", OPTION_ICMP_ID, NAMES_ICMP),
    (b"icmpv6-type", OPTION_ICMP_TYPE, NAMES_ICMPV6),
    (b"icmpv6-code", OPTION_ICMP_CODE, NAMES_ICMPV6),
    (b"icmpv6-id", OPTION_ICMP_ID, NAMES_ICMPV6),
)

# The letters, each with the long name of what it means. The bracket-like ones belong to options that are meant to be
# written long; the C tool takes them, too.
cdef tuple LETTERS = (
    (b"L", b"dump"), (b"I", b"create"), (b"A", b"add"), (b"U", b"update"), (b"D", b"delete"), (b"G", b"get"),
    (b"F", b"flush"), (b"E", b"event"), (b"C", b"counter"), (b"S", b"stats"), (b"V", b"version"), (b"h", b"help"),
    (b"s", b"src"), (b"d", b"dst"), (b"r", b"reply-src"), (b"q", b"reply-dst"), (b"p", b"protonum"),
    (b"t", b"timeout"), (b"u", b"status"), (b"z", b"zero"), (b"e", b"event-mask"), (b"[", b"tuple-src"),
    (b"]", b"tuple-dst"), (b"{", b"mask-src"), (b"}", b"mask-dst"), (b"m", b"mark"), (b"i", b"id"),
    (b"f", b"family"), (b"n", b"src-nat"), (b"g", b"dst-nat"), (b"o", b"output"), (b"c", b"secmark"),
    (b"b", b"buffer-size"), (b"j", b"any-nat"), (b"w", b"zone"), (b"l", b"label"), (b"<", b"label-add"),
    (b">", b"label-del"), (b"(", b"orig-zone"), (b")", b"reply-zone"), (b"a", b"nat-range"),
)

# Rules: a mark for each general option, in their order. Space: may be there. x: may not. +: must be.
cdef tuple RULES = (
    (COMMAND_NONE_, TABLE_CONNTRACK_, b"xxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    (COMMAND_LIST_, TABLE_CONNTRACK_, b"     x  xxx   x     x   xx  "),
    (COMMAND_LIST_, TABLE_EXPECT_, b"xxxxxxxxxxxxxxx xx xxxxxxxxx"),
    (COMMAND_LIST_, TABLE_DYING_, b"     x  xxx   x     x   xx  "),
    (COMMAND_LIST_, TABLE_UNCONFIRMED_, b"     x  xxx   x     x   xx  "),
    (COMMAND_CREATE_, TABLE_CONNTRACK_, b"    ++ xxxxxx xx  xxxx x x  "),
    (COMMAND_CREATE_, TABLE_EXPECT_, b"++  ++ xx++++xxxxxxxxxxxxxxx"),
    (COMMAND_ADD_, TABLE_CONNTRACK_, b"    ++ xxxxxx xx  xxxx x x  "),
    (COMMAND_UPDATE_, TABLE_CONNTRACK_, b"       xxxx        xxxx   xx"),
    (COMMAND_DELETE_, TABLE_CONNTRACK_, b"       xxxx        xxx  xx  "),
    (COMMAND_DELETE_, TABLE_EXPECT_, b"++  +xxxxxxxxxxxxxxxxxxxxxxx"),
    (COMMAND_GET_, TABLE_CONNTRACK_, b"    +xxxxxxxxx xxx xxxx xxxx"),
    (COMMAND_GET_, TABLE_EXPECT_, b"++  +xxxxxxxxxxxxxxxxxxxxxxx"),
    (COMMAND_FLUSH_, TABLE_CONNTRACK_, b"xxxxxxxxxxxxxxx xxxxxxxxxxxx"),
    (COMMAND_EVENT_, TABLE_CONNTRACK_, b"     xxx xx   x         xx  "),
    (COMMAND_EVENT_, TABLE_EXPECT_, b"xxxxxxxxxxxxxxxxxx xxxxxxxxx"),
    (COMMAND_HELP_, TABLE_CONNTRACK_, b"xxxx xxxxxxxxxxxxxxxxxxxxxxx"),
    (COMMAND_HELP_, TABLE_EXPECT_, b"xxxx xxxxxxxxxxxxxxxxxxxxxxx"),
)

# The same for the options of the protocols, from OPTION_PORT_SOURCE to OPTION_ICMP_ID; of them, only those count that the
# protocol has. Of expectations, GRE has a rule of its own.
cdef tuple PROTOCOL_RULES = (
    (COMMAND_LIST_, TABLE_CONNTRACK_, b"    xx xxxxx   "),
    (COMMAND_LIST_, TABLE_DYING_, b"    xx xxxxx   "),
    (COMMAND_LIST_, TABLE_UNCONFIRMED_, b"    xx xxxxx   "),
    (COMMAND_EVENT_, TABLE_CONNTRACK_, b"    xx xxxxx   "),
    (COMMAND_DELETE_, TABLE_CONNTRACK_, b"    xx xxxxx   "),
    (COMMAND_UPDATE_, TABLE_CONNTRACK_, b"    xx xx  x   "),
    (COMMAND_GET_, TABLE_CONNTRACK_, b"    xx xx  x++ "),
    (COMMAND_CREATE_, TABLE_CONNTRACK_, b"    xx+xx+++++ "),
    (COMMAND_ADD_, TABLE_CONNTRACK_, b"    xx+xx+++++ "),
    (COMMAND_CREATE_, TABLE_EXPECT_, b"++xx++x+++++xxx"),
    (COMMAND_GET_, TABLE_EXPECT_, b"++++xxxxxxxxxxx"),
    (COMMAND_DELETE_, TABLE_EXPECT_, b"++++xxxxxxxxxxx"),
)
cdef bytes GRE_EXPECTATION_RULE = b"++++++x+++++xxx"

cdef enum:
    TABLES = 4
    PROTOCOL_OPTION_COUNT = LAST_OPTION - PROTOCOL_OPTIONS + 1
    NAMES_MAX = 96
    BUCKETS = 256                  # a power of two
    GRE = 47

cdef struct rule_t:
    uint64_t forbidden             # sets of options
    uint64_t required

ctypedef const char *name_t

# The same, as the parser reads it. What a command has no rule for, goes with nothing.
cdef option_t[NAMES_MAX] names_
cdef int name_count = 0
cdef uint8_t[BUCKETS] buckets      # of the hash of a name: its index, plus one
cdef uint8_t[256] letters          # of a letter: the index of its name, plus one
cdef rule_t[COMMANDS][TABLES] general_rules
cdef rule_t[COMMANDS][TABLES] protocol_rules
cdef rule_t gre_expectation_rule
cdef name_t[LAST_OPTION + 1] general_names
cdef name_t[LAST_OPTION + 1] key_names
cdef name_t[LAST_OPTION + 1] icmpv6_names
cdef char[COMMANDS] command_letters


cdef inline uint32_t name_hash(const char *name, size_t length) noexcept nogil:
    """The length and three letters; the factors were tried out, so that hardly two names share a bucket."""
    if length < 3:
        return 0
    return <uint32_t>(length * 20 + <uint8_t>name[0] * 31 + <uint8_t>name[length - 1] * 8
                      + <uint8_t>name[length - 3] * 21) & (BUCKETS - 1)


cdef void register(bytes name, int option, int argument, int names):
    """The literal's text stays where it is as long as the module lives."""
    global name_count
    cdef option_t *entry = &names_[name_count]
    cdef uint32_t bucket
    entry.name = name
    entry.name_length = <uint8_t>len(name)
    entry.option = option
    entry.argument = argument
    entry.names = names
    name_count += 1
    bucket = name_hash(entry.name, entry.name_length)
    while buckets[bucket]:
        bucket = (bucket + 1) & (BUCKETS - 1)
    buckets[bucket] = <uint8_t>name_count


cdef void name_option(name_t *into, const option_t *entry) noexcept:
    if entry.option <= LAST_OPTION and into[entry.option] == NULL:
        into[entry.option] = entry.name


cdef name_t *names_for(int names) noexcept:
    if names == NAMES_KEYS:
        return &key_names[0]
    if names == NAMES_ICMPV6:
        return &icmpv6_names[0]
    return &general_names[0]


cdef void register_letter(uint8_t letter, const option_t *entry) noexcept:
    letters[letter] = <uint8_t>(entry - &names_[0] + 1)
    if entry.option >= FIRST_COMMAND:
        command_letters[entry.option - FIRST_COMMAND] = letter


cdef rule_t make_rule(bytes marks, int first, int last):
    cdef rule_t rule = rule_t(0, 0)
    if len(marks) != last - first + 1:
        raise AssertionError(f"a rule has {len(marks)} marks, not {last - first + 1}")
    for option, mark in enumerate(marks, first):
        if mark == b"x"[0]:
            rule.forbidden |= option_bit(option)
        elif mark == b"+"[0]:
            rule.required |= option_bit(option)
    return rule


cdef void build_names():
    cdef int index
    for name, option, argument in GENERAL_NAMES:
        register(name, option, argument, NAMES_GENERAL)
    for name, option, names in PROTOCOL_NAMES:
        register(name, option, ARGUMENT_REQUIRED, names)
    for index in range(name_count):
        name_option(names_for(names_[index].names), &names_[index])
    for letter, name in LETTERS:
        register_letter(ord(letter), find_long(name, len(name), NAMES_GENERAL))


cdef void build_rules():
    global gre_expectation_rule
    cdef int command, table
    for command in range(COMMANDS):
        for table in range(TABLES):
            general_rules[command][table] = rule_t(option_bit(GENERAL_OPTIONS) - 1, 0)
            protocol_rules[command][table] = rule_t(0, 0)
    for command, table, marks in RULES:
        general_rules[command][table] = make_rule(marks, 0, GENERAL_OPTIONS - 1)
    for command, table, marks in PROTOCOL_RULES:
        protocol_rules[command][table] = make_rule(marks, PROTOCOL_OPTIONS, LAST_OPTION)
    gre_expectation_rule = make_rule(GRE_EXPECTATION_RULE, PROTOCOL_OPTIONS, LAST_OPTION)


build_names()
build_rules()


# Finding.

cdef uint8_t names_of_protocol(int protocol) noexcept nogil:
    if protocol == 6: return NAMES_PORTS | NAMES_STATE
    if protocol == 17 or protocol == 136: return NAMES_PORTS
    if protocol == 132: return NAMES_PORTS | NAMES_STATE | NAMES_VTAG
    if protocol == 33: return NAMES_PORTS | NAMES_STATE | NAMES_ROLE
    if protocol == GRE: return NAMES_KEYS
    if protocol == 1: return NAMES_ICMP
    if protocol == 58: return NAMES_ICMPV6
    return 0


cdef const option_t *find_whole(const char *name, size_t length, uint8_t names) noexcept nogil:
    cdef uint32_t bucket = name_hash(name, length)
    cdef const option_t *entry
    while buckets[bucket]:
        entry = &names_[buckets[bucket] - 1]
        if entry.name_length == length and memcmp(entry.name, name, length) == 0:
            return entry if entry.names & names else NULL
        bucket = (bucket + 1) & (BUCKETS - 1)
    return NULL


cdef const option_t *find_long(const char *name, size_t length, uint8_t names) noexcept nogil:
    cdef const option_t *found = find_whole(name, length, names)
    cdef const option_t *entry
    cdef int i
    if found != NULL:
        return found
    for i in range(name_count):
        entry = &names_[i]
        if (not entry.names & names or entry.name_length < length
                or memcmp(entry.name, name, length) != 0):
            continue
        if found != NULL and found.option != entry.option:
            return NULL
        found = entry
    return found


cdef const option_t *find_letter(char letter) noexcept nogil:
    cdef uint8_t index = letters[<uint8_t>letter]
    return &names_[index - 1] if index else NULL


cdef int find_table(const char *name) noexcept nogil:
    cdef size_t length = strlen(name)
    if strncmp(b"expect", name, length) == 0: return TABLE_EXPECT_
    if strncmp(b"conntrack", name, length) == 0: return TABLE_CONNTRACK_
    if strncmp(b"dying", name, length) == 0: return TABLE_DYING_
    if strncmp(b"unconfirmed", name, length) == 0: return TABLE_UNCONFIRMED_
    return -1


# Checking.

cdef int first_wrong(uint64_t given, uint64_t forbidden, uint64_t required, bint *missing) noexcept nogil:
    cdef uint64_t wrong = (given & forbidden) | (~given & required)
    cdef int option = 0
    if wrong == 0:
        return -1
    while not wrong >> option & 1:
        option += 1
    missing[0] = not given >> option & 1
    return option


cdef int check_general(int command, int table, uint64_t given, bint *missing) noexcept nogil:
    cdef rule_t rule = general_rules[command][table]
    return first_wrong(given, rule.forbidden, rule.required, missing)


cdef uint64_t options_of_names(uint8_t names) noexcept nogil:
    """The options that a protocol has, as a set."""
    cdef uint64_t options = 0
    if names & (NAMES_PORTS | NAMES_KEYS):
        options |= option_bit(OPTION_STATE) - option_bit(OPTION_PORT_SOURCE)
        options |= option_bit(OPTION_TUPLE_PORT_SOURCE) | option_bit(OPTION_TUPLE_PORT_DESTINATION)
    if names & NAMES_STATE:
        options |= option_bit(OPTION_STATE)
    if names & NAMES_VTAG:
        options |= option_bit(OPTION_VTAG_ORIGINAL) | option_bit(OPTION_VTAG_REPLY)
    if names & NAMES_ROLE:
        options |= option_bit(OPTION_ROLE)
    if names & (NAMES_ICMP | NAMES_ICMPV6):
        options |= option_bit(OPTION_ICMP_TYPE) | option_bit(OPTION_ICMP_CODE) | option_bit(OPTION_ICMP_ID)
    return options


cdef int check_protocol(int command, int table, int protocol, uint64_t given, bint *missing) noexcept nogil:
    cdef rule_t rule = protocol_rules[command][table]
    cdef uint64_t known = options_of_names(names_of_protocol(protocol))
    # Of a protocol that was named before this one.
    cdef uint64_t unknown = given >> PROTOCOL_OPTIONS << PROTOCOL_OPTIONS & ~known
    if protocol == GRE and command == COMMAND_CREATE_ and table == TABLE_EXPECT_:
        rule = gre_expectation_rule
    return first_wrong(given, rule.forbidden & known | unknown, rule.required & known, missing)


cdef const char *option_name(int option, int protocol) noexcept nogil:
    if protocol == GRE and key_names[option] != NULL:
        return key_names[option]
    if protocol == 58 and icmpv6_names[option] != NULL:
        return icmpv6_names[option]
    return general_names[option]


cdef char command_letter(int command) noexcept nogil:
    return command_letters[command]
