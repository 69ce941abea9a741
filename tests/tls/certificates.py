"""Authorities and certificates for tests, made by the openssl command in a folder."""
import os
import shutil
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name):
        self.folder = folder
        self.file = os.path.join(folder, name + ".pem")
        self.key = os.path.join(folder, name + ".key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.file)

    def issue(self, name, names="DNS:localhost,IP:127.0.0.1"):
        """(certificate, key): PEM files of a new key, signed by this authority."""
        base = os.path.join(self.folder, name)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\n" % names)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                "-keyout", base + ".key", "-out", base + ".csr")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.file, "-CAkey", self.key, "-CAcreateserial",
                "-days", "2", "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"


def replace(target, source):
    """As a renewal does it: the new file is moved over the old one."""
    shutil.copy(source, target + ".new")
    os.replace(target + ".new", target)
