#!/bin/sh
# Sends an array as a .npy file with curl, and compares the reply with it byte by byte.
#
#     echo.sh 127.0.0.1:50055
set -eu
address=${1:?usage: echo.sh HOST:PORT}
sent=$(mktemp)
reply=$(mktemp)
trap 'rm -f "$sent" "$reply"' EXIT

# What np.save writes for np.array([1.5, np.nan, -0.0]): format 1.0, and 118 bytes ("v") of header.
{
  printf '\223NUMPY\001\000v\000'
  printf '%-117s\n' "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
  printf '\000\000\000\000\000\000\370\077'
  printf '\000\000\000\000\000\000\370\177'
  printf '\000\000\000\000\000\000\000\200'
} >"$sent"

curl --silent --show-error --fail --max-time 30 --header 'Content-Type: application/x-npy' \
  --data-binary "@$sent" --output "$reply" "http://$address/echo_npy"
cmp "$sent" "$reply"
echo "curl, .npy: $(wc -c <"$reply") bytes came back unchanged"
