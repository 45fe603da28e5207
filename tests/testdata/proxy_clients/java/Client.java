import java.net.Authenticator;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;

/**
 * A program in Java that knows nothing of a proxy but what is in its
 * environment: `Client HOST`. It prints what it received. Java takes a proxy's
 * user and password from nowhere but an Authenticator.
 */
final class Client {
  private static final class OfProxy extends Authenticator {
    @Override
    protected PasswordAuthentication getPasswordAuthentication() {
      if (getRequestorType() != RequestorType.PROXY) return null;
      var pair = URI.create(System.getenv("HTTPS_PROXY")).getRawUserInfo().split(":", 2);
      var password = URLDecoder.decode(pair[1], StandardCharsets.UTF_8);
      return new PasswordAuthentication(pair[0], password.toCharArray());
    }
  }

  public static void main(String[] args) throws Exception {
    var client =
        HttpClient.newBuilder()
            .proxy(ProxySelector.getDefault())
            .authenticator(new OfProxy())
            .build();
    var request = HttpRequest.newBuilder(URI.create("https://" + args[0] + "/json")).build();
    System.out.print(client.send(request, BodyHandlers.ofString()).body());
  }
}
