<?php

// AsyncAws: `client.php [keep]`; the protocol is that of ../python/clients.py.

require 'AsyncAws/Core/autoload.php';

use AsyncAws\Core\Configuration;
use AsyncAws\Core\Credentials\CacheProvider;
use AsyncAws\Core\Credentials\ChainProvider;

$configuration = Configuration::create([]);
$kept = null;
echo "ready\n";
while (fgets(STDIN) !== false) {
    try {
        $provider = $kept ?? new CacheProvider(ChainProvider::createDefaultChain());
        $kept = ($argv[1] ?? '') === 'keep' ? $provider : null;
        $found = $provider->getCredentials($configuration);
        if ($found === null) {
            throw new RuntimeException('no credentials');
        }
        $expires = $found->getExpireDate();
        echo 'ok ', $found->getAccessKeyId(), ' ', $expires ? $expires->format(DATE_RFC3339) : '-', "\n";
    } catch (Throwable $error) {
        echo 'error ', get_class($error), ': ', strtr($error->getMessage(), "\n", ' '), "\n";
    }
}
