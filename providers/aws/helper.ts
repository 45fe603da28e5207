/**
 * The helper that a bound client's `credential_process` runs: a POSIX shell
 * script that asks the proxy for credentials and prints them.
 *
 * It is a string, not a file beside this one, because text imports are still
 * unstable in Deno and the program is bundled into one file.
 *
 * What it may count on is a shell and one of bash, curl, busybox, GNU wget,
 * python3 or node. bash comes first because it is the fastest (below plain
 * curl), and the slow interpreters last; curl comes before busybox, although
 * slower, because it knows most about networks.
 *
 * **Security:** the token is read by the shell itself and leaves it through
 * pipes only, never on a command line or in an environment. Only GNU wget
 * reads headers from nothing but a regular file: it gets one in a directory of
 * mode 0700, and both are removed before wget starts. No proxy variable is honoured for our address.
 *
 * @module
 */

/** Text of a shell script: verbatim, but `\${` stands for `${`. */
function shell({ raw }: TemplateStringsArray): string {
  return raw.join("").replaceAll("\\${", "${");
}

/**
 * The helper's text, to be mounted with mode 0555.
 *
 * Reads `MOAT_AWS_CREDENTIAL_URL` (`http://HOST:PORT/PATH`, HOST a name, an
 * IPv4 address or an IPv6 address in brackets) and
 * `MOAT_AWS_CREDENTIAL_TOKEN_FILE`. Prints the answer's body when it is 200
 * and holds credentials, else one sentence on stderr, and exits with 1. An
 * attempt takes 10 s at most; a connection that fails before any answer is
 * tried once more after 1 s. `MOAT_AWS_CREDENTIAL_TIMEOUT`, 1 to 9 seconds,
 * can only shorten an attempt; it is there for tests.
 *
 * @see {@link https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html | Process credential provider}
 */
export const CREDENTIAL_HELPER: string = shell`#!/bin/sh
# Prints AWS credentials for credential_process: asks moat, which runs outside.
# Needs one of bash, curl, busybox, GNU wget, python3 or node.
# The token is never on a command line or in an environment.
# Without a trace, which would show the token.
set -uf +axv
unset token request answer body
LC_ALL=C
export LC_ALL
lf='
'
cr=$(printf '\r')
crlf=$cr$lf

fail() {
  printf 'moat: %s\n' "$1" >&2
  exit 1
}

# Printable ASCII only, 300 characters at most.
clean() {
  rest=$(printf %.300s "$1") text=
  while [ -n "$rest" ]; do
    tail=\${rest#?}
    case $rest in
      [\ -~]*) text=$text\${rest%"$tail"} ;;
      *) text=$text? ;;
    esac
    rest=$tail
  done
}

read_settings() {
  [ "\${MOAT_SOURCE-}" != 1 ] ||
    fail 'refused: moat would be its own source of credentials'
  url=\${MOAT_AWS_CREDENTIAL_URL-}
  token_file=\${MOAT_AWS_CREDENTIAL_TOKEN_FILE-}
  limit=10
  case \${MOAT_AWS_CREDENTIAL_TIMEOUT-} in
    [1-9]) limit=$MOAT_AWS_CREDENTIAL_TIMEOUT ;;
  esac
  [ -n "$url" ] || fail 'MOAT_AWS_CREDENTIAL_URL is not set'
  [ -n "$token_file" ] || fail 'MOAT_AWS_CREDENTIAL_TOKEN_FILE is not set'
}

read_url() {
  authority=\${url#http://}
  path=/
  case $authority in
    */*) path=/\${authority#*/} authority=\${authority%%/*} ;;
  esac
  case $authority in
    \[*\]:*) host=\${authority#\[} host=\${host%%\]*} port=\${authority##*\]:} ;;
    \[*\]) host=\${authority#\[} host=\${host%\]} port=80 ;;
    *:*) host=\${authority%%:*} port=\${authority#*:} ;;
    *) host=$authority port=80 ;;
  esac
  bad='MOAT_AWS_CREDENTIAL_URL is not of the form http://HOST:PORT/PATH'
  case $url in http://*) ;; *) fail "$bad" ;; esac
  case $authority in *[!][A-Za-z0-9._:-]*) fail "$bad" ;; esac
  case $host in '' | -* | *[!A-Za-z0-9._:-]*) fail "$bad" ;; esac
  case $port in '' | ??????* | *[!0-9]*) fail "$bad" ;; esac
  case $path in *[!A-Za-z0-9._~/?%=\&:@+,-]*) fail "$bad" ;; esac
}

read_token() {
  token=
  { IFS= read -r token <"$token_file"; } 2>/dev/null
  token=\${token#Bearer }
  case $token in
    '' | *[!A-Za-z0-9._~+/=@-]*)
      clean "$token_file"
      fail "cannot read a token from $text"
      ;;
  esac
  request="GET $path HTTP/1.1$crlf"
  request="\${request}Host: $authority$crlf"
  request="\${request}Authorization: Bearer $token$crlf"
  request="\${request}Accept: application/json$crlf"
  request="\${request}Connection: close$crlf$crlf"
}

# Each ask_TOOL prints the whole HTTP answer, undecoded. All keep their side of
# the connection open until then: servers may drop a client that closes early.

# None leaves a process behind, which would become a zombie in a container whose
# first process does not wait for strangers.

# The coprocess waits for the end of its input, which is when this bash ends.
bash_client='
coproc { read -r -t "$3"; (($? > 128)) && kill -KILL $$; }
trap "exec \${COPROC[1]}>&-; wait" EXIT
exec 3<>"/dev/tcp/$1/$2" || {
  case $( { : <>/dev/tcp/127.0.0.1/0; } 2>&1) in
    *"No such file"*) exit 126 ;; # built without network redirections
  esac
  exit 7
}
IFS= read -r -d "" request
printf %s "$request" >&3
IFS= read -r -d "" -n 65537 answer <&3
printf %s "$answer"'

ask_bash() {
  printf %s "$request" | bash -p -c "$bash_client" moat "$host" "$port" "$limit"
}

ask_curl() {
  printf '%s "%s"\n' url "$url" header "Authorization: Bearer $token" \
    header 'Accept: application/json' header 'Connection: close' |
    curl -q -s -g -i --raw --noproxy '*' --max-time "$limit" -K -
}

# Its stdin, opened anew for reading and writing, is a pipe that never ends.
# Its time-out is a shell of busybox, because only that reads with one.
ask_busybox() {
  printf %s "$request" | {
    exec 3<>/proc/self/fd/0 4>&1
    {
      busybox nc "$host" "$port" <&3 >&4 3>&- 4>&- &
      echo $!
      wait $!
      echo $?
    } | busybox sh -c '
      read -r client
      read -r -t "$1" code && exit "$code"
      kill -s KILL "$client"
      exit 28' moat "$limit"
  }
}

# GNU wget takes its configuration from a regular file only.
ask_wget() {
  case $(wget --version) in 'GNU Wget '*) ;; *) return 126 ;; esac
  command -v rm >/dev/null && command -v mktemp >/dev/null || return 126
  set --
  ! command -v timeout >/dev/null || set -- timeout "$limit"
  umask 077
  for directory in "\${TMPDIR:-/tmp}" /tmp /dev/shm; do
    # A directory of its own, where nobody else can have put anything.
    private=$(mktemp -d "$directory/moat-XXXXXX") || continue
    printf 'header = Authorization: Bearer %s\n' "$token" >"$private/config" || {
      rm -rf -- "$private"
      continue
    }
    exec 3<"$private/config"
    rm -rf -- "$private"
    "$@" wget --config=/proc/self/fd/3 -q -O - -t 1 -T "$limit" --no-proxy \
      --no-netrc --no-hsts --max-redirect=0 --content-on-error --save-headers \
      "$url"
    code=$?
    # After a 401 it prints nothing.
    [ $code -ne 6 ] || printf 'HTTP/1.1 401 Unauthorized%s' "$crlf$crlf"
    return $code
  done
  return 126
}

python_client='
import signal, socket, sys
signal.alarm(int(sys.argv[3]))
server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
server.sendall(sys.stdin.buffer.read())
for data in iter(lambda: server.recv(65536), b""):
    sys.stdout.buffer.write(data)'

ask_python3() {
  printf %s "$request" |
    python3 -I -S -c "$python_client" "$host" "$port" "$limit"
}

node_client='
const [host, port, limit] = process.argv.slice(1);
setTimeout(() => process.exit(28), limit * 1000).unref();
const server = require("net").connect({ host, port });
server.on("error", () => process.exit(7));
process.stdin.pipe(server, { end: false });
server.pipe(process.stdout);'

ask_node() {
  printf %s "$request" |
    NODE_OPTIONS= node -e "$node_client" "$host" "$port" "$limit"
}

# Sets answer, and outcome: answered, unreachable, late or unusable.
attempt() {
  { answer=$("ask_$1")$lf; } 2>/dev/null
  case $? in
    2 | 126 | 127) outcome=unusable ;;
    28 | 124 | 137 | 142 | 143) outcome=late ;;
    *)
      outcome=answered
      [ "$answer" != "$lf" ] || outcome=unreachable
      ;;
  esac
}

# Asks with the first tool that works here, once more if nobody listens.
ask() {
  for tool in bash curl busybox wget python3 node; do
    command -v "$tool" >/dev/null 2>&1 || continue
    attempt "$tool"
    if [ "$outcome" = unreachable ]; then
      sleep 1 2>/dev/null
      attempt "$tool"
    fi
    [ "$outcome" = unusable ] || return 0
  done
  outcome=no-tool
}

# Undoes the chunked transfer coding; a broken one leaves an empty body.
unchunk() {
  rest=$body body=
  while :; do
    size=\${rest%%"$crlf"*}
    rest=\${rest#"$size$crlf"}
    size=\${size%%[; ]*}
    case $size in
      '' | ?????* | *[!0-9A-Fa-f]*) body= && return ;;
    esac
    size=$((0x$size))
    [ "$size" -gt 0 ] || return
    chunk=
    while [ "\${#chunk}" -lt $((size + 2)) ] && [ -n "$rest" ]; do
      line=\${rest%%"$lf"*}
      rest=\${rest#"$line$lf"}
      chunk=$chunk$line$lf
    done
    [ "\${#chunk}" -eq $((size + 2)) ] || { body= && return; }
    body=$body\${chunk%"$crlf"}
  done
}

# Sets status and body.
read_answer() {
  [ "\${#answer}" -le 65536 ] || answer=
  case $answer in
    HTTP/1.[01]\ [1-5][0-9][0-9]*"$crlf$crlf"*) ;;
    *) fail "$authority answered something that is not HTTP" ;;
  esac
  head=\${answer%%"$crlf$crlf"*}
  body=\${answer#"$head$crlf$crlf"}
  status=\${head#* }
  status=\${status%"\${status#???}"}
  case $tool:$head in
    wget:*) ;; # it has undone the coding
    *[Tt]ransfer-[Ee]ncoding:*chunked*) unchunk ;;
  esac
  while :; do
    case $body in
      *[$crlf]) body=\${body%?} ;;
      *) return ;;
    esac
  done
}

# Sets text to the member "message" of the body, or to nothing.
read_message() {
  rest=\${body#*'"message":'}
  rest=$(printf %.600s "\${rest# }")
  text=
  case $body:$rest in *'"message":'*:\"*) ;; *) return ;; esac
  rest=\${rest#\"}
  while :; do
    part=\${rest%%\"*}
    case $rest in
      "$part"*\"*) ;;
      *) text=$text$part && break ;;
    esac
    case $part in
      *\\\\) text=$text$part && break ;;
      *\\) text=$text\${part%?}\" rest=\${rest#"$part"\"} ;;
      *) text=$text$part && break ;;
    esac
  done
  clean "$text"
}

read_settings
read_url
read_token
ask
if [ "$outcome" = no-tool ]; then
  PATH=\${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
  ask
fi
case $outcome in
  no-tool) fail 'found none of bash, curl, busybox, GNU wget, python3 and node' ;;
  late) fail "no answer from $authority within $limit seconds" ;;
  unreachable) fail "cannot reach $authority: is moat running there?" ;;
esac
read_answer
if [ "$status" != 200 ]; then
  read_message
  fail "$authority answered $status\${text:+: $text}"
fi
case $body in
  {*'"AccessKeyId"'*}) printf '%s\n' "$body" ;;
  *) fail "$authority answered without AWS credentials" ;;
esac
`;
