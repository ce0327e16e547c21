# Four hosts on one machine: network namespaces joined by a bridge. Loaded by tests that cross a network.
#   host 1: scheduler   host 2: two servers   hosts 3, 4: a worker each      addresses 10.77.0.<host>

hosts_possible() {
    [ "$(id -u)" = 0 ] && ip netns add "mgprobe$$" 2>/dev/null && ip netns del "mgprobe$$"
}

# hosts_make: namespaces $HOSTS-1 … $HOSTS-4
hosts_make() {
    HOSTS=mg$$
    ip link add "$HOSTS" type bridge
    ip link set "$HOSTS" up
    local i
    for i in 1 2 3 4; do
        ip netns add "$HOSTS-$i"
        ip link add "$HOSTS.$i" type veth peer name eth0 netns "$HOSTS-$i"
        ip link set "$HOSTS.$i" master "$HOSTS" up
        ip -n "$HOSTS-$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$HOSTS-$i" link set eth0 up
        ip -n "$HOSTS-$i" link set lo up
    done
}

# on HOST COMMAND…: run it there
on() {
    local host=$1
    shift
    ip netns exec "$HOSTS-$host" "$@"
}

hosts_remove() {
    local i pid
    for i in 1 2 3 4; do
        for pid in $(ip netns pids "$HOSTS-$i" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
        ip netns del "$HOSTS-$i" 2>/dev/null
    done
    ip link del "$HOSTS" 2>/dev/null
    return 0
}
