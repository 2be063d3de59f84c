"""Server over nginx with the echo module: one worker process, which returns each body."""

import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import launcher

MODULE = "ngx_http_echo_module.so"


def module():
    """Returns the path of the echo module."""
    build = subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr
    found = re.search(r"--modules-path=(\S+)", build)
    path = pathlib.Path(found[1] if found else "/usr/lib/nginx/modules") / MODULE
    if not path.is_file():
        sys.exit(f"{path} is missing: install the echo module of nginx (Debian: apt install libnginx-mod-http-echo)")
    return path


def command(configuration, folder):
    modules = f"load_module {module()};"
    return ["nginx", "-p", folder, "-e", "stderr", "-c", configuration, "-g", modules]


def environment(descriptor, port):
    return {"NGINX": f"{descriptor};"}  # nginx takes over the sockets that this variable names


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        module()
    else:
        # At SIGQUIT nginx answers the requests in flight.
        launcher.run(__doc__, HERE / "nginx.conf", command, environment, signal.SIGQUIT)
