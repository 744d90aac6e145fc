#pragma once
// libmicrohttpd, and what Swift cannot import of it (variadic functions); epoll, which the Glibc module lacks.
#include <microhttpd.h>
#include <sys/epoll.h>

typedef void (*apus_http_completed_callback)(void *context, struct MHD_Connection *connection, void **request_context,
                                             enum MHD_RequestTerminationCode reason);
typedef void *(*apus_http_uri_callback)(void *context, const char *uri, struct MHD_Connection *connection);
typedef void (*apus_http_connection_callback)(void *context, struct MHD_Connection *connection, void **socket_context,
                                              enum MHD_ConnectionNotificationCode code);

/// Starts a daemon with one epoll thread on a socket that already listens, or returns NULL.
static inline struct MHD_Daemon *
apus_http_start(int listening_socket, unsigned int connection_limit, size_t connection_memory,
                unsigned int idle_timeout_seconds, void *context, MHD_AccessHandlerCallback handler,
                apus_http_uri_callback began, apus_http_completed_callback completed,
                apus_http_connection_callback connection_changed) {
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handler, context,
                            MHD_OPTION_LISTEN_SOCKET, listening_socket,
                            MHD_OPTION_CONNECTION_LIMIT, connection_limit,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_memory,
                            MHD_OPTION_CONNECTION_TIMEOUT, idle_timeout_seconds,
                            MHD_OPTION_URI_LOG_CALLBACK, began, context,
                            MHD_OPTION_NOTIFY_COMPLETED, completed, context,
                            MHD_OPTION_NOTIFY_CONNECTION, connection_changed, context,
                            MHD_OPTION_END);
}

static inline int apus_http_socket(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/// What `connection_changed` stored for this connection.
static inline void *apus_http_socket_context(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}
