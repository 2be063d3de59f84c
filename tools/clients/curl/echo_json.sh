#!/bin/sh
# Sends an array as a JSON list with curl.
#
#     echo_json.sh 127.0.0.1:50055
set -eu

message='{"data": [[1.5, -0.0, 1e300], [-7.0, 0.1, 5e-324]], "dtype": "<f8"}'
reply=$(curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' \
  --data "$message" "http://$1/echo_json") || { echo "$reply" >&2; exit 1; }

# Servers differ in the spaces and in the exponent: 1e300 and 1e+300 are the same number.
values() { echo "$1" | tr -d ' +'; }
if [ "$(values "$reply")" != "$(values "$message")" ]; then
  echo "sent $message, got $reply" >&2
  exit 1
fi
echo "curl, JSON list: 6 doubles came back as they were"
