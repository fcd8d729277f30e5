# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of conntrack(8) for bash: to be read by the shell, or installed as
# /usr/share/bash-completion/completions/conntrack.

# The letter of a command, by the word that names it; nothing of other words.
_conntrack_command() {
    case $1 in
        -[LGDIAUEFCSRVh]) echo "${1#-}" ;;
        --dump) echo L ;;
        --get) echo G ;;
        --delete) echo D ;;
        --create) echo I ;;
        --add) echo A ;;
        --update) echo U ;;
        --event) echo E ;;
        --flush) echo F ;;
        --counter) echo C ;;
        --stats) echo S ;;
        --load-file) echo R ;;
        --version) echo V ;;
        --help) echo h ;;
    esac
}

_conntrack_tables() {
    case $1 in
        L) echo conntrack expect dying unconfirmed ;;
        G | D | I | E | F | C | S) echo conntrack expect ;;
        A | U) echo conntrack ;;
    esac
}

# What goes with a command and a table, whatever the protocol.
_conntrack_options() {
    local source="-s --src --orig-src" destination="-d --dst --orig-dst"
    local tuple="$source $destination -r --reply-src -q --reply-dst -p --protonum"
    local networks="--mask-src --mask-dst -f --family"
    local nat="-n --src-nat -g --dst-nat"
    local zones="-w --zone --orig-zone --reply-zone"
    local labels="-l --label --labelmap"
    case $1-$2 in
        L-expect) echo -f --family -o --output ;;
        E-expect) echo -o --output ;;
        [GD]-expect) echo "$source $destination" -p --protonum ;;
        I-expect)
            echo "$source $destination" -p --protonum -t --timeout --tuple-src --tuple-dst --mask-src --mask-dst
            ;;
        *-expect) ;;
        L-*)
            echo "$tuple $networks $nat $zones $labels" -j --any-nat -u --status -m --mark -c --secmark \
                -o --output -z --zero
            ;;
        E-*)
            echo "$tuple $networks $nat $zones $labels" -j --any-nat -m --mark -c --secmark -o --output \
                -e --event-mask -b --buffer-size
            ;;
        D-*)
            echo "$tuple $networks $nat $zones $labels" -t --timeout -u --status -m --mark -i --id -o --output
            ;;
        U-*)
            echo "$tuple $networks $nat $labels" -t --timeout -u --status -m --mark -i --id --label-add \
                --label-del -o --output
            ;;
        [IA]-*) echo "$tuple $nat $zones" -t --timeout -u --status -m --mark --label-add --labelmap ;;
        G-*) echo "$tuple $labels" -i --id -o --output ;;
        F-*) echo -f --family ;;
    esac
}

# What goes with a command and a table for a protocol.
_conntrack_protocol_options() {
    local command=$1 table=$2 protocol=$3 kind=port short="--sport --dport" reply="" tags=""
    [[ $command == [CFSRVh] ]] && return
    case $protocol in
        tcp | udp | udplite | sctp | dccp) ;;
        gre)
            kind=key
            short="--srckey --dstkey"
            ;;
        icmp | icmpv6)
            [[ $table == expect ]] || echo "--$protocol-type --$protocol-code --$protocol-id"
            return
            ;;
        *) return ;;
    esac
    short+=" --orig-$kind-src --orig-$kind-dst"
    reply="--reply-$kind-src --reply-$kind-dst"
    [[ $protocol == sctp ]] && tags="--orig-vtag --reply-vtag"
    case $command-$table in
        [LE]-expect) return ;;
        [GD]-expect) echo "$short $reply" && return ;;
        I-expect)
            echo "$short --tuple-$kind-src --tuple-$kind-dst --mask-$kind-src --mask-$kind-dst $tags"
            [[ $protocol == gre ]] && echo "$reply"
            [[ $protocol == dccp ]] && echo --role
            return
            ;;
        [LED]-*) tags="" ;;
        [IA]-*) [[ $protocol == dccp ]] && tags=--role ;;
    esac
    echo "$short $reply $tags"
    [[ $protocol == tcp || $protocol == sctp || $protocol == dccp ]] && echo --state
}

_conntrack_states() {
    case $1 in
        tcp)
            echo NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2 LISTEN
            ;;
        sctp)
            echo NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD \
                SHUTDOWN_ACK_SENT HEARTBEAT_SENT HEARTBEAT_ACKED
            ;;
        dccp) echo NONE REQUEST RESPOND PARTOPEN OPEN CLOSEREQ CLOSING TIMEWAIT IGNORE INVALID ;;
    esac
}

_conntrack_statuses() {
    case $1 in
        I | A | U) echo ASSURED SEEN_REPLY FIXED_TIMEOUT EXPECTED UNSET ;;
        *) echo ASSURED SEEN_REPLY UNREPLIED FIXED_TIMEOUT EXPECTED OFFLOAD HW_OFFLOAD ;;
    esac
}

# A line each, since a name may hold spaces.
_conntrack_labels() {
    sed -nE 's/^[[:space:]]*[0-9][0-9a-fA-Fx]*[[:space:]]+([A-Za-z0-9 -]*[A-Za-z0-9-])[[:space:]]*$/\1/p' \
        "$1" 2> /dev/null
}

# Complete the last word of a list with commas, by words that come one to a line.
_conntrack_list() {
    local current=$1 before="" word
    [[ $current == *,* ]] && before=${current%,*},
    while IFS= read -r word; do
        [[ ,$before == *,"$word",* || $before == save,* || ($word == save && -n $before) ]] && continue
        # What was typed may have its spaces quoted.
        [[ $before$word == "${current//\\/}"* ]] && COMPREPLY+=("${before//\\/}$word")
    done
    ((${#COMPREPLY[@]})) && mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}" | sed 's/\\,/,/g')
}

_conntrack() {
    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
    local command="" table=conntrack protocol="" labels=/etc/xtables/connlabel.conf words="" word previous i
    COMPREPLY=()
    # The shell takes --option=value for three words.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $option == "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        previous=${COMP_WORDS[i - 1]}
        [[ $previous == "=" ]] && previous=${COMP_WORDS[i - 2]}
        case $previous in
            -p | --proto | --protonum) protocol=${word,,} ;;
            --labelmap) labels=$word ;;
        esac
        if [[ -z $command ]]; then
            command=$(_conntrack_command "$word")
        elif [[ -n $word && $(_conntrack_command "$previous") == "$command" ]]; then
            [[ expect == "$word"* ]] && table=expect
        fi
        [[ $word == -p?* ]] && protocol=${word#-p}
    done
    case $option in
        -p | --proto | --protonum) words="tcp udp udplite icmp icmpv6 sctp dccp gre" ;;
        -f | --family) words="ipv4 ipv6" ;;
        --state) words=$(_conntrack_states "$protocol") ;;
        --role) words="client server" ;;
        -o | --output)
            words="extended xml json save timestamp id ktimestamp labels userspace"
            [[ $table == expect ]] && words="xml json timestamp"
            _conntrack_list "$current" < <(tr ' ' '\n' <<< "$words")
            return
            ;;
        -e | --event-mask)
            _conntrack_list "$current" < <(printf '%s\n' ALL NEW UPDATES DESTROY)
            return
            ;;
        -u | --status)
            _conntrack_list "$current" < <(_conntrack_statuses "$command" | tr ' ' '\n')
            return
            ;;
        -l | --label | --label-add)
            _conntrack_list "$current" < <(_conntrack_labels "$labels")
            return
            ;;
        -R | --load-file | --labelmap)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            [[ $option != --labelmap && -z $current ]] && COMPREPLY+=(-)
            return
            ;;
        -[sdrqtmcbiwa] | --src | --orig-src | --dst | --orig-dst | --reply-src | --reply-dst | --timeout | --mark | \
            --secmark | --buffer-size | --id | --zone | --*-zone | --*-port-??? | --*-key-??? | --?port | --*key | \
            --tuple-??? | --mask-??? | --nat-range | --*-vtag | --icmp*-*)
            return
            ;;
        *)
            # A value that may be left out.
            if [[ $option == --label-del && $current != -* ]]; then
                _conntrack_list "$current" < <(_conntrack_labels "$labels")
                return
            fi
            if [[ -z $command ]]; then
                words="-L -G -D -I -A -U -E -F -C -S -V -h --dump --get --delete --create --add --update --event
                    --flush --counter --stats --version --help"
                ((COMP_CWORD == 1)) && words+=" -R --load-file"
            elif [[ $command != [RVh] ]]; then
                words="$(_conntrack_options "$command" "$table")
                    $(_conntrack_protocol_options "$command" "$table" "$protocol")"
                [[ $(_conntrack_command "$option") == "$command" ]] && words+=" $(_conntrack_tables "$command")"
            fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _conntrack conntrack
