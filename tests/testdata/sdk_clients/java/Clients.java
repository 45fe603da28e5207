import com.amazonaws.auth.AWSCredentials;
import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;

/**
 * Java clients of AWS, one per run: `Clients NAME [keep]`; the protocol is that
 * of ../python/clients.py.
 */
final class Clients {
  private static final Map<String, Supplier<Callable<String>>> CLIENTS =
      Map.of("v2", Clients::v2, "v1", Clients::v1);

  private static Callable<String> v2() {
    var chain = DefaultCredentialsProvider.builder().build();
    return () -> {
      AwsCredentials found = chain.resolveCredentials();
      return found.accessKeyId() + " " + found.expirationTime().map(Object::toString).orElse("-");
    };
  }

  private static Callable<String> v1() {
    var chain = new DefaultAWSCredentialsProviderChain();
    return () -> {
      AWSCredentials found = chain.getCredentials();
      return found.getAWSAccessKeyId() + " -";
    };
  }

  public static void main(String[] args) throws Exception {
    var open = CLIENTS.get(args[0]);
    boolean keeps = args.length > 1 && args[1].equals("keep");
    Callable<String> kept = null;
    System.out.println("ready");
    var lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) {
      try {
        var poll = kept != null ? kept : open.get();
        kept = keeps ? poll : null;
        System.out.println("ok " + poll.call());
      } catch (Exception error) {
        System.out.println("error " + error.toString().replace('\n', ' '));
      }
    }
  }
}
