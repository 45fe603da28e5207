/**
 * The file that `moat provider new` writes.
 *
 * @module
 */

/**
 * Writes a definition to start from, with a word about every key.
 *
 * @param name The provider's name.
 * @returns TOML that is right as it stands, for a host that does not exist.
 */
export function template(name: string): string {
  const variable = `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}_TOKEN`
    .replace(/^(?=[0-9])/, "_");
  return `# A provider of moat: where the token of "${name}" goes.
# Check it with: moat provider check FILE. Then: moat grant ${name}

# The same as the file's name.
name = "${name}"
description = "The API of ${name}"

# Where the token goes, with https. "*.example.com" is everything below
# example.com, without itself; another port than 443 is written behind it.
hosts = ["api.example.com"]

# Variables of the client, which hold a placeholder that looks like a token.
env = ["${variable}"]

# Where moat grant looks for the token, before it asks for it.
source_env = ["${variable}"]
prompt = "${name} token"
help = "create one in the settings of your account"

# More hosts that the client may reach, without the token:
# allow = ["downloads.example.com"]

# Other names for moat grant:
# aliases = ["${name.slice(0, 50)}-api"]

# The header that the proxy puts on every request, in place of the client's.
# Several headers are several tables, each with [[inject]].
[inject]
header = "Authorization"
prefix = "Bearer "
# In place of prefix, for HTTP Basic with the token as the password:
# basic_user = "token"
# Only there:
# hosts = ["api.example.com"]
# path = "/v1"
# More headers of the client that are removed:
# strip = ["X-Api-Key"]

# In place of [inject], above the first table, for a token in the path:
# substitute = "path"

# What the vendor's tools check of a token.
[placeholder]
prefix = ""
length = 40

# A request that tells whether a token is good.
# [validate]
# url = "https://api.example.com/v1/user"
# method = "GET"
# rejected = [401]
# forbidden_is_fine = false
`;
}
