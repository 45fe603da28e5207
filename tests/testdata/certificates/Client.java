import java.net.Socket;
import java.security.cert.CertificateException;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * Connects to 127.0.0.1 as each HOST=PORT and prints whether it trusts it.
 * The roots come from JAVA_TOOL_OPTIONS.
 */
public class Client {
    public static void main(String[] arguments) throws Exception {
        for (String argument : arguments) {
            String[] parts = argument.split("=");
            System.out.println(parts[0] + " " + attempt(parts[0], Integer.parseInt(parts[1])));
        }
    }

    private static String attempt(String host, int port) throws Exception {
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        Socket plain = new Socket("127.0.0.1", port);
        try (SSLSocket secure = (SSLSocket) factory.createSocket(plain, host, port, true)) {
            SSLParameters parameters = secure.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            secure.setSSLParameters(parameters);
            return new String(secure.getInputStream().readNBytes(2));
        } catch (SSLException refusal) {
            if (refusal.getCause() instanceof CertificateException) return "refused";
            throw refusal;
        }
    }
}
