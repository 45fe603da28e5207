# The AWS SDK for Ruby: `client.rb [keep]`; the protocol is that of
# ../python/clients.py.

require "aws-sdk-core"

$stdout.sync = true
puts "ready"
kept = nil
while $stdin.gets
  begin
    found = kept || Aws::CredentialProviderChain.new.resolve
    raise "no credentials" unless found&.set?
    kept = found if ARGV == ["keep"]
    key = found.credentials.access_key_id
    expires = found.respond_to?(:expiration) && found.expiration
    puts "ok #{key} #{expires ? expires.utc.strftime("%FT%TZ") : "-"}"
  rescue StandardError => error
    puts "error #{error.class}: #{error.message}".tr("\n", " ")
  end
end
