import com.amazonaws.auth.AWSCredentials;
import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.Callable;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;

/**
 * Java clients of AWS, one per run: `Clients NAME`; the protocol is that of
 * ../python/clients.py.
 */
final class Clients {
  private static final Map<String, Callable<String>> CLIENTS =
      Map.of("v2", Clients::v2, "v1", Clients::v1);

  private static String v2() {
    try (var chain = DefaultCredentialsProvider.builder().build()) {
      AwsCredentials found = chain.resolveCredentials();
      return found.accessKeyId() + " " + found.expirationTime().map(Object::toString).orElse("-");
    }
  }

  private static String v1() {
    AWSCredentials found = new DefaultAWSCredentialsProviderChain().getCredentials();
    return found.getAWSAccessKeyId() + " -";
  }

  public static void main(String[] args) throws Exception {
    var poll = CLIENTS.get(args[0]);
    System.out.println("ready");
    var lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) {
      try {
        System.out.println("ok " + poll.call());
      } catch (Exception error) {
        System.out.println("error " + error.toString().replace('\n', ' '));
      }
    }
  }
}
