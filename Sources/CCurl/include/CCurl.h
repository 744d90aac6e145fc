#pragma once
// libcurl, and what Swift cannot import of it (variadic functions), with the event interface its multi loop is driven by.
#include <curl/curl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

// MARK: Options

static inline CURLcode apus_easy_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode apus_easy_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode apus_easy_set_pointer(CURL *easy, CURLoption option, const void *value) {
    return curl_easy_setopt(easy, option, value);
}

typedef size_t (*apus_transfer_callback)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode apus_easy_set_transfer(CURL *easy, CURLoption option, apus_transfer_callback function) {
    return curl_easy_setopt(easy, option, function);
}

static inline CURLcode apus_easy_set_seek(CURL *easy, int (*function)(void *context, curl_off_t offset, int origin)) {
    return curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, function);
}

// `function` is called each time before the request is sent on a connection.
static inline CURLcode apus_easy_set_before(
    CURL *easy, int (*function)(void *context, char *peer, char *own, int peer_port, int own_port)) {
    return curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, function);
}

static inline CURLcode apus_easy_set_open(
    CURL *easy, curl_socket_t (*function)(void *context, curlsocktype purpose, struct curl_sockaddr *address)) {
    return curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, function);
}

static inline CURLcode apus_easy_set_close(CURL *easy, int (*function)(void *context, curl_socket_t socket)) {
    return curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, function);
}

static inline CURLMcode apus_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode apus_multi_set_socket(
    CURLM *multi, int (*function)(CURL *easy, curl_socket_t socket, int what, void *context, void *socket_context),
    void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, function);
    return code ? code : curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
}

static inline CURLMcode apus_multi_set_timer(
    CURLM *multi, int (*function)(CURLM *multi, long milliseconds, void *context), void *context) {
    CURLMcode code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, function);
    return code ? code : curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
}

// The file with the authorities of the system, or NULL.
static inline const char *apus_system_ca_file(void) { return curl_version_info(CURLVERSION_NOW)->cainfo; }

static inline long apus_tls_at_least_1_2(void) { return CURL_SSLVERSION_TLSv1_2; }

// MARK: Facts of a transfer

static inline long apus_easy_get_long(CURL *easy, CURLINFO info) {
    long value = 0;
    return curl_easy_getinfo(easy, info, &value) ? 0 : value;
}

static inline curl_off_t apus_easy_get_offset(CURL *easy, CURLINFO info) {
    curl_off_t value = 0;
    return curl_easy_getinfo(easy, info, &value) ? 0 : value;
}

static inline void *apus_easy_get_private(CURL *easy) {
    char *value = NULL;
    return curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value) ? NULL : value;
}

// The handle of the next finished transfer and its result, or NULL.
static inline CURL *apus_multi_next_done(CURLM *multi, CURLcode *result) {
    int left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left))) {
        if (message->msg == CURLMSG_DONE) {
            *result = message->data.result;
            return message->easy_handle;
        }
    }
    return NULL;
}

// MARK: Events

typedef struct {
    int descriptor;
    uint32_t events;
} apus_event;

// `operation` is EPOLL_CTL_ADD, _MOD or _DEL.
static inline int apus_epoll_control(int epoll, int operation, int descriptor, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    return epoll_ctl(epoll, operation, descriptor, &event);
}

#define APUS_EVENTS 256

// At most APUS_EVENTS events; their number, or -1.
static inline int apus_epoll_wait(int epoll, apus_event *events, int milliseconds) {
    struct epoll_event list[APUS_EVENTS];
    int count = epoll_wait(epoll, list, APUS_EVENTS, milliseconds);
    for (int index = 0; index < count; index++) {
        events[index].descriptor = list[index].data.fd;
        events[index].events = list[index].events;
    }
    return count;
}

static inline int apus_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// At most 15 characters count.
static inline void apus_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
