/* Endpoints: what they may be, which of them are private, and from where they are reached. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/network.h"

enum { HOST_BYTES = 256 };

typedef struct TcpAddress {
    char host[HOST_BYTES];
    char port[8]; /* "*" or decimal */
} TcpAddress;

static bool has_scheme(const char *endpoint, const char *scheme) {
    return !strncmp(endpoint, scheme, strlen(scheme));
}

static Err bad_endpoint(const char *endpoint, const char *reason) {
    return err_fail(ERR_FAILED, "\"%s\" is no endpoint: %s", endpoint, reason);
}

static bool is_port(const char *port) {
    return strlen(port) <= 5 && port[0] && strspn(port, "0123456789") == strlen(port) && atoi(port) <= 65535;
}

static Err parse_tcp(const char *endpoint, TcpAddress *out) {
    const char *host = endpoint + strlen("tcp://"), *colon = strrchr(host, ':');
    if (!colon || colon == host || (size_t)(colon - host) >= HOST_BYTES)
        return bad_endpoint(endpoint, "after tcp:// an address, a colon and a port are expected");
    if (strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*") != (size_t)(colon - host))
        return bad_endpoint(endpoint, "the address must be an IPv4 address or a host's name");
    if (strcmp(colon + 1, "*") && !is_port(colon + 1))
        return bad_endpoint(endpoint, "the port must be a number from 0 to 65535 or *");
    snprintf(out->host, sizeof out->host, "%.*s", (int)(colon - host), host);
    snprintf(out->port, sizeof out->port, "%s", colon + 1);
    return OK;
}

/* address->host is "" for schemes other than tcp. */
static Err parse(const char *endpoint, TcpAddress *address) {
    *address = (TcpAddress){.host = ""};
    if (strlen(endpoint) >= ENDPOINT_BYTES)
        return err_fail(ERR_FAILED, "the endpoint has %zu bytes, the limit is %d", strlen(endpoint),
                        ENDPOINT_BYTES - 1);
    if (has_scheme(endpoint, "tcp://"))
        return parse_tcp(endpoint, address);
    if (has_scheme(endpoint, "ipc://") || has_scheme(endpoint, "inproc://"))
        return OK;
    return bad_endpoint(endpoint, "it must begin with tcp://, ipc:// or inproc://");
}

/* getaddrinfo's code. */
static int resolve(const TcpAddress *address, struct sockaddr_in *out) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo(address->host, strcmp(address->port, "*") ? address->port : "0", &hints, &found);
    if (rc)
        return rc;
    memcpy(out, found->ai_addr, sizeof *out);
    freeaddrinfo(found);
    return 0;
}

Err link_address_to_bind(const char *endpoint, char *out) {
    TcpAddress address;
    Err err = parse(endpoint, &address);
    if (err)
        return err;
    snprintf(out, ENDPOINT_BYTES, "%s", endpoint);
    struct sockaddr_in numeric;
    char text[INET_ADDRSTRLEN];
    /* What is no host (an interface, *) is left to ZeroMQ. */
    if (address.host[0] && strcmp(address.host, "*") && !resolve(&address, &numeric))
        snprintf(out, ENDPOINT_BYTES, "tcp://%s:%s", inet_ntop(AF_INET, &numeric.sin_addr, text, sizeof text),
                 address.port);
    return OK;
}

Err link_address_to_dial(const char *endpoint, char *out) {
    TcpAddress address;
    Err err = parse(endpoint, &address);
    if (err)
        return err;
    snprintf(out, ENDPOINT_BYTES, "%s", endpoint);
    if (!address.host[0])
        return OK;
    if (!strcmp(address.host, "*") || !strcmp(address.port, "*") || atoi(address.port) == 0)
        return bad_endpoint(endpoint, "to be dialled it needs a host and a port");
    struct sockaddr_in numeric;
    int rc = resolve(&address, &numeric);
    if (rc == 0 || rc == EAI_AGAIN) /* a name server that is down for now: ZeroMQ asks again at each attempt */
        return OK;
    return err_fail(ERR_FAILED, "cannot dial %s: cannot resolve %s: %s", endpoint, address.host, gai_strerror(rc));
}

/* A datagram socket is connected without sending anything; the kernel chooses the address as it would for tcp. */
static Err local_address_towards(const char *endpoint, const struct sockaddr_in *remote, struct sockaddr_in *local) {
    socklen_t size = sizeof *local;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_ok = fd >= 0 && !connect(fd, (const struct sockaddr *)remote, sizeof *remote) &&
                 !getsockname(fd, (struct sockaddr *)local, &size);
    Err err = is_ok ? OK : err_fail(ERR_FAILED, "%s cannot be reached from this host: %m", endpoint);
    if (fd >= 0)
        close(fd);
    return err;
}

Err link_local_address(const char *endpoint, char *out, size_t size) {
    char dialled[ENDPOINT_BYTES], text[INET_ADDRSTRLEN];
    TcpAddress address;
    struct sockaddr_in remote, local;
    Err err = link_address_to_dial(endpoint, dialled);
    if (err)
        return err;
    err = parse(endpoint, &address);
    if (err)
        return err;
    if (!address.host[0])
        return bad_endpoint(endpoint, "only tcp has addresses");
    int rc = resolve(&address, &remote);
    if (rc)
        return err_fail(ERR_FAILED, "cannot resolve %s: %s", address.host, gai_strerror(rc));
    err = local_address_towards(endpoint, &remote, &local);
    if (!err)
        snprintf(out, size, "tcp://%s", inet_ntop(AF_INET, &local.sin_addr, text, sizeof text));
    return err;
}

bool link_is_private(const char *endpoint) {
    TcpAddress address;
    struct in_addr numeric;
    if (parse(endpoint, &address))
        return false;
    if (!address.host[0] || !strcmp(address.host, "localhost"))
        return true;
    return inet_pton(AF_INET, address.host, &numeric) == 1 && ntohl(numeric.s_addr) >> 24 == 127;
}

Err link_check_private(const char *endpoint, const char *what, bool is_allowed) {
    if (is_allowed || link_is_private(endpoint))
        return OK;
    return err_fail(ERR_USAGE,
                    "%s %s can be reached from other hosts and nothing is encrypted yet: add --insecure if the network "
                    "is yours alone",
                    what, endpoint);
}

/* ":5" of tcp://host:5, "" of tcp://host. */
static const char *port_of(const char *endpoint) {
    const char *colon = strrchr(endpoint, ':');
    return colon && colon[1] != '/' ? colon : "";
}

static Err address_towards(const char *endpoint, char *out, size_t size) {
    char name[HOST_BYTES] = "localhost";
    if (endpoint)
        return link_local_address(endpoint, out, size);
    if (gethostname(name, sizeof name - 1))
        return err_fail(ERR_FAILED, "this host does not know its name: %m");
    snprintf(out, size, "tcp://%s", name);
    return OK;
}

Err link_advertised(const char *bound, const char *asked, const char *towards, char *out, size_t size) {
    char address[ENDPOINT_BYTES];
    if (asked) {
        snprintf(out, size, "%s%s", asked, *port_of(asked) ? "" : port_of(bound));
        return OK;
    }
    if (!has_scheme(bound, "tcp://0.0.0.0:")) {
        snprintf(out, size, "%s", bound);
        return OK;
    }
    Err err = address_towards(towards, address, sizeof address);
    if (!err)
        snprintf(out, size, "%s%s", address, port_of(bound));
    return err;
}
