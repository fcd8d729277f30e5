# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of nfct(8) for bash: to be read by the shell, or installed as
# /usr/share/bash-completion/completions/nfct.

_nfct_states() {
    case $1 in
        tcp) echo syn_sent syn_recv established fin_wait close_wait last_ack time_wait close syn_sent2 \
            retrans unacknowledged ;;
        udp | udplite | gre) echo unreplied replied ;;
        icmp | icmpv6 | generic) echo timeout ;;
        sctp) echo closed cookie_wait cookie_echoed established shutdown_sent shutdown_recd shutdown_ack_sent ;;
        dccp) echo request respond partopen open closereq closing timewait ;;
    esac
}

_nfct_names() {
    case $1 in
        timeout) nfct list timeout 2> /dev/null | sed -n 's/^\.\(.*\) = {$/\1/p' ;;
        helper) nfct list helper 2> /dev/null | sed -n 's/^\t\.name = \(.*\),$/\1/p' ;;
    esac
}

_nfct_helpers() {
    echo amanda dhcpv6 ftp mdns rpc sane slp ssdp tftp tns
}

# Family, protocol, and then pairs of state and seconds, from the word of this index on.
_nfct_timeouts() {
    local first=$1
    case $((COMP_CWORD - first)) in
        0) echo inet inet6 ;;
        1) echo tcp udp udplite icmp icmpv6 sctp dccp gre generic ;;
        *) (((COMP_CWORD - first) % 2 == 0)) && _nfct_states "${COMP_WORDS[first + 1]}" ;;
    esac
}

_nfct() {
    local commands="list add delete get flush disable default-set default-get"
    local subsystems="timeout helper version"
    local command=${COMP_WORDS[1]} subsystem=${COMP_WORDS[2]} words=""
    case $command in
        timeout | helper | version)
            command=${COMP_WORDS[2]}
            subsystem=${COMP_WORDS[1]}
            ;;
    esac
    if ((COMP_CWORD == 1)); then
        words="$commands $subsystems --help --version"
    elif ((COMP_CWORD == 2)); then
        case ${COMP_WORDS[1]} in
            timeout) words="list add delete get flush default-set default-get" ;;
            helper) words="list add delete get flush disable" ;;
            default-set | default-get) words=timeout ;;
            disable) words=helper ;;
            list) words=$subsystems ;;
            -*) ;;
            *) words="timeout helper" ;;
        esac
    else
        case $command-$subsystem in
            add-timeout) ((COMP_CWORD > 3)) && words=$(_nfct_timeouts 4) ;;
            default-set-timeout) words=$(_nfct_timeouts 3) ;;
            default-get-timeout) ((COMP_CWORD < 5)) && words=$(_nfct_timeouts 3) ;;
            get-timeout | delete-timeout) ((COMP_CWORD == 3)) && words=$(_nfct_names timeout) ;;
            *-helper)
                case $command-$COMP_CWORD in
                    add-3 | disable-3) words=$(_nfct_helpers) ;;
                    get-3 | delete-3) words=$(_nfct_names helper) ;;
                    add-4 | disable-4 | get-4 | delete-4) words="inet inet6" ;;
                    add-5 | disable-5 | get-5 | delete-5) words="tcp udp" ;;
                esac
                ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}

complete -F _nfct nfct
