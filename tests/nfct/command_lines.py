# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of nfct, good and bad, as a shell would read them; `NAME31` is a name of 31 bytes.

Each group is run from top to bottom on a table of its own.
"""

from __future__ import annotations

import shlex

NAME31 = "a-name-of-just-thirty-one-bytes"

WORDS = """

    ''
    foo
    help
    version
    list
    timeout
    helper
    '' ''
    '' '' ''
    list timeout
    timeout list
    l t
    li ti
    listx timeout
    LIST timeout
    list Timeout
    list ''
    timeout ''
    '' timeout
    foo ''
    '' foo
    foo timeout
    timeout foo
    foo bar
    list list
    list foo
    timeout timeout
    helper timeout
    timeout helper
    add delete
    version foo
    foo version
    version timeout
    version version
    timeout version
    reset timeout
    a timeout
    a ''
    d timeout
    de timeout
    del timeout
    di timeout
    dis helper
    def timeout
    default timeout
    default- timeout
    default-s timeout
    default-g timeout
    default-get timeoutx
    g timeout
    f timeout
    disable timeout
    disable timeout inet tcp
    timeout disable
    list timeout extra
    list timeout reset
    flush timeout extra
    --foo timeout
    -- list timeout
    list -- timeout
"""

POLICIES = """
    add timeout tcp-all inet tcp syn_sent 1 syn_recv 2 established 3 fin_wait 4 close_wait 5 last_ack 6 time_wait 7 close 8 syn_sent2 9 retrans 10 unacknowledged 11
    add timeout man inet tcp established 100 close 10 close_wait 10
    timeout add other-order inet6 tcp established 101
    a t short inet6 tcp close 102
    add timeout udp inet udp unreplied 5
    add timeout udp-both inet udp UNREPLIED 5 Replied 6
    add timeout udplite inet udplite replied 7
    add timeout icmp inet icmp timeout 8
    add timeout icmp-of-6 inet6 icmp timeout 9
    add timeout icmpv6 inet6 icmpv6 timeout 10
    add timeout icmpv6-of-4 inet icmpv6 timeout 11
    add timeout ipv6-icmp inet6 ipv6-icmp timeout 12
    add timeout sctp inet sctp closed 1 cookie_wait 2 cookie_echoed 3 established 4 shutdown_sent 5 shutdown_recd 6 shutdown_ack_sent 7
    add timeout dccp inet dccp request 1 respond 2 partopen 3 open 4 closereq 5 closing 6 timewait 7
    add timeout gre inet gre unreplied 1 replied 2
    add timeout generic inet6 generic timeout 13
    add timeout alias inet TCP established 14
    list timeout
    get timeout man
    timeout get udp
    g t icmp
    get timeout gre
    get timeout sctp
    get timeout generic
    delete timeout man
    get timeout man
    delete timeout man
    timeout delete udp
    list timeout
    flush timeout
    list timeout
    flush timeout
"""  # noqa: E501

_NUMBERS = """
    0 1 -1 -5 +5 010 0x10 1.5 1e3 12abc abc '' ' 7' '	8' '- 9' '+ 9' -- +- -0 ' -3' 86400 1,000 1_000 ١ ４
    2147483647 2147483648 4294967295 4294967296 4294967297 9223372036854775807 9223372036854775808
    -9223372036854775808 -9223372036854775809 99999999999999999999 -99999999999999999999
    000000000000000000000000000012
"""

NUMBERS = "".join(
    f"\n    add timeout number-{index} inet udp unreplied {shlex.quote(number)}"
    for index, number in enumerate(shlex.split(_NUMBERS))
)

NAMES = f"""
    add timeout {NAME31} inet udp unreplied 1
    add timeout {NAME31}x inet udp unreplied 2
    add timeout {NAME31}-and-more inet udp unreplied 3
    get timeout {NAME31}
    get timeout {NAME31}x
    delete timeout {NAME31}-and-more
    get timeout {NAME31}
    add timeout '' inet udp unreplied 1
    add timeout '' inet udp unreplied 1
    get timeout ''
    delete timeout ''
    delete timeout ''
    add timeout 'a b' inet udp unreplied 1
    add timeout "it's" inet udp unreplied 1
    add timeout é inet udp unreplied 1
    add timeout thirty-bytes-and-one-that-is--é inet udp unreplied 1
    add timeout \udcff\udcfe inet udp unreplied 1
    add timeout % inet udp unreplied 1
    add timeout %s%n inet udp unreplied 1
    add timeout -x inet udp unreplied 1
    add timeout list inet udp unreplied 1
    get timeout é
    get timeout thirty-bytes-and-one-that-is--é
    get timeout \udcff\udcfe
    get timeout 'a b'
    get timeout -x
    get timeout A
    list timeout
    add timeout é inet udp unreplied 1
    add timeout same inet udp unreplied 1
    add timeout same inet udp replied 1
    add timeout same inet tcp established 1
    add timeout same inet6 udp replied 1
    add timeout same inet6 udp
    get timeout same
"""

MISTAKES = """
    add timeout
    add timeout x
    add timeout x inet
    add timeout x inet tcp
    add timeout x inet tcp established
    add timeout x inet tcp established 1 close
    add timeout x inet tcp foo 1
    add timeout x inet tcp foo
    add timeout x inet tcp established 1 foo 2
    add timeout x inet tcp foo 2 established 1
    add timeout x inet tcp established 1 established 2
    get timeout x
    add timeout y inet tcp estab 1
    add timeout y inet tcp '' 1
    add timeout y inet tcp 3 1
    add timeout y inet tcp unack 1
    add timeout y inet tcp timeout 1
    add timeout y inet udp timeout 1
    add timeout y inet udp established 1
    add timeout y inet udplite timeout 1
    add timeout y inet icmp request 1
    add timeout y inet icmpv6 unreplied 1
    add timeout y inet sctp heartbeat_sent 1
    add timeout y inet sctp none 1
    add timeout y inet dccp closed 1
    add timeout y inet gre timeout 1
    add timeout y inet generic unreplied 1
    add timeout y inet tcp é 1
    add timeout y inet tcp ſyn_sent 1
    add timeout y inet tcp \udcff 1
    add timeout y inet tcp %s 1
    add timeout y inet foo timeout 1
    add timeout y inet '' timeout 1
    add timeout y inet tc established 1
    add timeout y inet 6 established 1
    add timeout y inet é established 1
    add timeout y inet \udcff established 1
    add timeout y inet ICMPV6 timeout 1
    add timeout y inet Generic timeout 1
    add timeout y inet esp timeout 1
    add timeout y inet esp
    add timeout y inet ip timeout 1
    add timeout y inet mptcp established 1
    add timeout y inet mptcp
    add timeout y unspec tcp established 1
    add timeout y arp tcp established 1
    add timeout y INET tcp established 1
    add timeout y ine tcp established 1
    add timeout y inet66 tcp established 1
    add timeout y '' tcp established 1
    add timeout y foo foo foo
    add timeout y foo foo foo foo
    list timeout
    get timeout
    get timeout none
    get timeout x x
    get timeout x x x
    delete timeout
    delete timeout none
    delete timeout x x
    list timeout
"""

DEFAULTS = """
    default-get timeout
    default-get timeout inet
    default-get timeout inet tcp
    timeout default-get inet6 tcp
    default-get timeout inet tcp extra words
    default-get timeout inet udp
    default-get timeout inet6 udp
    default-get timeout inet udplite
    default-get timeout inet icmp
    default-get timeout inet6 icmp
    default-get timeout inet6 icmpv6
    default-get timeout inet sctp
    default-get timeout inet dccp
    default-get timeout inet gre
    default-get timeout inet6 generic
    default-get timeout inet esp
    default-get timeout inet ip
    default-get timeout inet mptcp
    default-get timeout foo tcp
    default-get timeout inet foo
    default-get timeout foo foo
    default-set timeout
    default-set timeout inet
    default-set timeout inet tcp
    default-set timeout inet tcp established
    default-set timeout inet tcp established 100
    default-get timeout inet tcp
    default-get timeout inet6 tcp
    timeout default-set inet tcp established 200 close 20
    default-set timeout inet tcp established 300 close
    default-set timeout inet tcp foo 100
    default-set timeout foo tcp established 100
    default-set timeout inet foo established 100
    default-set timeout inet esp timeout 5
    default-get timeout inet tcp
    default-set timeout inet udp unreplied 31 replied 32
    default-get timeout inet udp
    default-get timeout inet udplite
    add timeout from-defaults inet udp unreplied 33
    get timeout from-defaults
    default-set timeout inet6 icmpv6 timeout 34
    default-get timeout inet6 icmpv6
    default-set timeout inet icmp timeout 35
    default-get timeout inet icmp
    default-set timeout inet sctp closed 36
    default-get timeout inet sctp
    default-set timeout inet dccp request 37
    default-set timeout inet gre replied 38
    default-get timeout inet gre
    default-set timeout inet generic timeout 39
    default-get timeout inet generic
    def t inet udp unreplied 0
    default-g t inet udp
"""

HELPERS = """
    add helper
    add helper ftp
    add helper ftp inet
    add helper ftp inet udp
    add helper ftp inet foo
    add helper ftp inet TCP
    add helper ftp inet 6
    add helper ftp foo tcp
    add helper FTP inet tcp
    add helper ft inet tcp
    add helper '' inet tcp
    add helper foo inet tcp
    add helper foo foo foo
    add helper ../../x inet tcp
    add helper sip inet udp
    helper add ftp
    h a ftp inet
    disable helper
    disable helper ftp
    disable helper ftp inet
    disable helper ftp inet udp
    disable helper ftp inet foo
    disable helper ftp foo tcp
    disable helper foo inet tcp
    get helper
    get helper ftp foo
    get helper ftp inet foo
    get helper ftp inet tcp extra
    delete helper
    delete helper ftp foo
    delete helper ftp inet foo
    delete helper ftp inet tcp extra
    list helper extra
    help list extra
    flush helper extra
    default-get helper
    default-set helper inet tcp
    helper default-get
    h def
    helper foo
    foo helper
"""

UNSUPPORTED = """
    list helper
    helper list
    list help
    help list
    h l
    '' helper
    get helper ftp
    get helper ftp inet
    get helper ftp inet tcp
    get helper a-name-that-is-too-long
    add helper ftp inet tcp
    add helper ftp inet6 tcp 5 extra
    disable helper ftp inet tcp
    delete helper ftp
    delete helper '' inet
    flush helper
"""
"""What this kernel may lack, and the C tool only says `Invalid argument` of."""
