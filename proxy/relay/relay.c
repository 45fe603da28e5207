/*
 * The relay: gives a container that has no way to the host a port of moat on
 * its own loopback.
 *
 *     relay PORT SOCKET -- COMMAND [ARG...]
 *
 * It listens on 127.0.0.1:PORT, leaves a server behind that passes every
 * connection on to the unix socket SOCKET, and becomes COMMAND: process
 * number, terminal, signals and exit status are those of COMMAND.
 *
 *     relay ── fork ── fork ── server     (an orphan: process 1 adopts it)
 *       │        └ ends at once
 *       └ waits for that, then exec COMMAND
 *
 * The port is open before COMMAND starts, so COMMAND never finds it closed.
 * As process 1 of a container, COMMAND has the server for a child, as it has
 * every orphan; it needs no wait for it, because the server outlives it or
 * goes with the container. The server watches COMMAND (where the kernel can)
 * instead of asking for a signal at its parent's death: its parent is the
 * process in the middle, which dies at once.
 *
 * Needs nothing of the image: no libc, no shell, no writable directory, no
 * capability. It reads no byte that it passes on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What moat gives to a container with a network of its own. */
#define DEFAULT_PORT "19080"
#define DEFAULT_SOCKET "/moat/endpoint.sock"

enum {
    MAX_CONNECTIONS = 256, /* further ones wait in the kernel's queue */
    BUFFER_BYTES = 16384,
    CONNECT_SECONDS = 1, /* how long moat's queue may be full */
    RETRY_MS = 100,      /* the pause when the machine is out of resources */
    OTHER_FILES = 8,     /* what the server has open besides connections */
};

/* As of docker run: our own failure, COMMAND not executable, not found. */
enum { FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };

/* One direction of a connection. */
struct flow {
    int from, to;
    size_t start, end; /* of what is in the buffer */
    bool ended;        /* nothing more comes */
    bool done;         /* and all is passed on, its end included */
    char bytes[BUFFER_BYTES];
};

struct connection {
    int client, upstream;
    struct flow up, down;
};

static struct connection connections[MAX_CONNECTIONS];
static size_t count;

static _Noreturn void fail(int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    dprintf(STDERR_FILENO, "moat relay: ");
    vdprintf(STDERR_FILENO, format, args);
    dprintf(STDERR_FILENO, "\n");
    va_end(args);
    exit(status);
}

static bool empty(const struct flow *f) { return f->start == f->end; }

/* Whether a call failed, rather than asked to wait. */
static bool failed(ssize_t result) {
    return result < 0 && errno != EAGAIN && errno != EINTR;
}

/*
 * Moves what can be moved without waiting. False if `from` failed (the buffer
 * is empty then) or if `to` takes no more (it is not).
 */
static bool move(struct flow *f, bool ready) {
    if (ready && empty(f) && !f->ended) {
        ssize_t got = recv(f->from, f->bytes, sizeof f->bytes, MSG_DONTWAIT);
        if (failed(got)) return false;
        if (got == 0) f->ended = true;
        f->start = 0;
        f->end = got > 0 ? (size_t)got : 0;
    }
    if (!empty(f)) {
        ssize_t sent = send(f->to, f->bytes + f->start, f->end - f->start,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (failed(sent)) return false;
        if (sent > 0) f->start += (size_t)sent;
    }
    if (f->ended && empty(f) && !f->done) {
        shutdown(f->to, SHUT_WR); /* a half-close is passed on as one */
        f->done = true;
    }
    return true;
}

/* Goes on with a connection; false when it has come to its end. */
static bool serve(struct connection *c, short client, short upstream) {
    if (!move(&c->up, client)) {
        if (empty(&c->up)) return false; /* the client is gone */
        c->up.start = c->up.end;         /* moat reads no more, but may have answered */
    }
    if (!move(&c->down, upstream)) return false;
    bool gone = upstream & (POLLHUP | POLLERR);
    return !(c->down.done && (c->up.done || gone));
}

/* What to wait for. Without a wish it is left out: a hang-up would wake us for ever. */
static struct pollfd wish(int fd, const struct flow *in, const struct flow *out) {
    short events = 0;
    if (empty(in) && !in->ended) events |= POLLIN;
    if (!empty(out)) events |= POLLOUT;
    return (struct pollfd){.fd = events ? fd : -1, .events = events};
}

static int dial(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void start(struct flow *f, int from, int to) {
    f->from = from;
    f->to = to;
    f->start = f->end = 0;
    f->ended = f->done = false;
}

/* Takes a connection, and closes it if moat is not there. False if none could be taken. */
static bool welcome(int listener, const struct sockaddr_un *address) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) return false;
    int upstream = dial(address), yes = 1;
    if (upstream < 0) {
        close(client);
        return true;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *c = &connections[count++];
    c->client = client;
    c->upstream = upstream;
    start(&c->up, client, upstream);
    start(&c->down, upstream, client);
    return true;
}

/* How many connections, of two descriptors each, this process may have. */
static size_t most_connections(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return 1;
    if (files.rlim_cur >= 2 * MAX_CONNECTIONS + OTHER_FILES) return MAX_CONNECTIONS;
    return files.rlim_cur > OTHER_FILES + 2 ? (files.rlim_cur - OTHER_FILES) / 2 : 1;
}

static _Noreturn void run_server(int listener, int command,
                                 const struct sockaddr_un *address) {
    static struct pollfd polled[2 + 2 * MAX_CONNECTIONS];
    size_t most = most_connections();
    bool paused = false;
    for (;;) {
        bool listens = count < most && !paused;
        polled[0] = (struct pollfd){.fd = command, .events = POLLIN};
        polled[1] = (struct pollfd){.fd = listens ? listener : -1, .events = POLLIN};
        for (size_t i = 0; i < count; i++) {
            struct connection *c = &connections[i];
            polled[2 + 2 * i] = wish(c->client, &c->up, &c->down);
            polled[3 + 2 * i] = wish(c->upstream, &c->down, &c->up);
            if (c->down.done) polled[3 + 2 * i].fd = c->upstream; /* its hang-up is the end */
        }
        if (poll(polled, 2 + 2 * count, paused ? RETRY_MS : -1) < 0) continue;
        paused = false;
        if (polled[0].revents) _exit(0); /* COMMAND has ended */
        for (size_t i = count; i-- > 0;) {
            struct connection *c = &connections[i];
            if (serve(c, polled[2 + 2 * i].revents, polled[3 + 2 * i].revents)) continue;
            close(c->client);
            close(c->upstream);
            *c = connections[--count]; /* that one has had its turn */
        }
        if (polled[1].revents) paused = !welcome(listener, address);
    }
}

/* Lets go of all that is COMMAND's: terminal, signals, directory, open files. */
static void detach(int listener, int command) {
    setsid(); /* Ctrl-C is for COMMAND */
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN); /* a kill of all processes: answer as long as COMMAND lives */
    (void)!chdir("/");
    for (int fd = 0; fd < 1024; fd++) {
        if (fd != listener && fd != command) close(fd);
    }
    while (open("/dev/null", O_RDWR) >= 0 && fcntl(STDERR_FILENO, F_GETFD) < 0) {
    }
}

static void leave_server(int listener, const struct sockaddr_un *address) {
    int command = (int)syscall(SYS_pidfd_open, getpid(), 0); /* -1 is none to poll */
    pid_t middle = fork();
    if (middle < 0) fail(FAILED, "Cannot start: %s", strerror(errno));
    if (middle == 0) {
        detach(listener, command); /* all of it before COMMAND starts */
        pid_t server = fork();
        if (server != 0) _exit(server < 0 ? errno : 0);
        run_server(listener, command, address);
    }
    int status = 0;
    while (waitpid(middle, &status, 0) < 0 && errno == EINTR) {
    }
    if (status == 0) return;
    fail(FAILED, "Cannot start: %s", strerror(WIFEXITED(status) ? WEXITSTATUS(status) : EINTR));
}

static int listen_on(const char *text) {
    char *rest;
    long port = strtol(text, &rest, 10);
    if (*text < '0' || *text > '9' || *rest != '\0' || port < 1 || port > 65535) {
        fail(FAILED, "Cannot listen: wanted a port from 1 to 65535, found \"%s\"", text);
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0) {
        fail(FAILED, "Cannot listen on 127.0.0.1:%ld: %s", port,
             errno == EADDRINUSE ? "wanted a free port, found one in use in this network"
                                 : strerror(errno));
    }
    return fd;
}

int main(int argc, char **argv) {
    /* Without port and socket it is as short as a container's entrypoint can be. */
    bool is_short = argc < 5 || strcmp(argv[3], "--") != 0 || argv[2][0] != '/';
    const char *port = is_short ? DEFAULT_PORT : argv[1];
    const char *path = is_short ? DEFAULT_SOCKET : argv[2];
    char **command = argv + (is_short ? 1 : 4);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!command[0]) {
        fail(FAILED, "Cannot start: wanted relay [PORT SOCKET --] COMMAND [ARG...]");
    }
    if (strlen(path) >= sizeof address.sun_path) {
        fail(FAILED, "Cannot use the socket \"%s\": wanted a path of at most %zu bytes", path,
             sizeof address.sun_path - 1);
    }
    strcpy(address.sun_path, path);
    leave_server(listen_on(port), &address);
    execvp(command[0], command);
    fail(errno == ENOENT ? NOT_FOUND : CANNOT_EXECUTE, "Cannot run \"%s\": %s", command[0],
         strerror(errno));
}
