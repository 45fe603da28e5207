# The AWS SDK for Ruby; the protocol is that of ../python/clients.py.

require "aws-sdk-core"

$stdout.sync = true
puts "ready"
while $stdin.gets
  begin
    found = Aws::CredentialProviderChain.new.resolve
    raise "no credentials" unless found&.set?
    expires = found.respond_to?(:expiration) && found.expiration
    puts "ok #{found.credentials.access_key_id} #{expires ? expires.utc.strftime("%FT%TZ") : "-"}"
  rescue StandardError => error
    puts "error #{error.class}: #{error.message}".tr("\n", " ")
  end
end
