"""Connects to 127.0.0.1 as each HOST=PORT and prints whether it trusts it.

Strict, as Python 3.13 is by default. The roots come from SSL_CERT_FILE.
"""

import socket
import ssl
import sys

context = ssl.create_default_context()
context.verify_flags |= ssl.VERIFY_X509_STRICT
for argument in sys.argv[1:]:
    host, port = argument.split("=")
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                print(host, secure.recv(2).decode())
        except ssl.SSLCertVerificationError:
            print(host, "refused")
