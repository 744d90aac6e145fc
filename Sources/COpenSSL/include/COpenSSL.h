#pragma once
// OpenSSL, and what Swift cannot import of it (macros).
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/// A new key on the curve P-256, or NULL.
static inline EVP_PKEY *apus_p256_key(void) { return EVP_EC_gen("P-256"); }

/// The bytes that were written to a memory BIO. Good until the next write.
static inline const char *apus_bio_bytes(BIO *bio, size_t *count) {
    char *bytes = NULL;
    long length = BIO_get_mem_data(bio, &bytes);
    *count = length > 0 ? (size_t)length : 0;
    return bytes;
}

/// Reads a key without a passphrase; OpenSSL would ask the terminal for one otherwise.
static inline EVP_PKEY *apus_read_private_key(BIO *bio) { return PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)""); }

static inline X509 *apus_read_certificate(BIO *bio) { return PEM_read_bio_X509_AUX(bio, NULL, NULL, (void *)""); }

/// Adds an extension, written as in OpenSSL's configuration files, to a certificate that is its own issuer.
static inline int apus_add_extension(X509 *certificate, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

/// Adds a certificate that leads from the server's to a root; takes the reference when it succeeds.
static inline int apus_add_chain_certificate(SSL_CTX *context, X509 *certificate) {
    return (int)SSL_CTX_add_extra_chain_cert(context, certificate);
}

/// Whether the newest error says that there was nothing more to read.
static inline int apus_is_end_of_pem(void) {
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}
