<?php
// Sends an e-mail once, and waits for what becomes of it: php send.php ann@example.org

// The answer as JSON. Without one, and after a 429 or 503, the call is sent again.
function call(string $method, string $path, ?array $body = null, array $headers = []): array
{
    $headers[] = 'Content-Type: application/json';
    $http = [
        'method' => $method,
        'header' => $headers,
        'content' => $body === null ? '' : json_encode($body),
        'ignore_errors' => true,
        'timeout' => 90,
    ];
    for ($n = 0; $n < 10; $n++) {
        $pause = 1;
        $url = getenv('BABYGUN_API_URL') . $path;
        $answer = @file_get_contents($url, false, stream_context_create(['http' => $http]));
        if ($answer !== false && $answer !== '') {
            $document = json_decode($answer, true);
            $status = (int) explode(' ', $http_response_header[0])[1];
            if ($status < 300) {
                return $document;
            }
            if ($status !== 429 && $status !== 503) {
                fwrite(STDERR, "{$document['type']}: {$document['detail']}\n");
                exit(1);
            }
            foreach ($http_response_header as $line) {
                if (sscanf(strtolower($line), 'retry-after: %d', $seconds) === 1) {
                    $pause = $seconds;
                }
            }
        } // else no answer: with the same key, sending again is safe
        sleep($pause);
    }
    exit("there is no answer\n");
}

$client = [
    'client_id' => getenv('BABYGUN_CLIENT_ID'),
    'client_secret' => getenv('BABYGUN_CLIENT_SECRET'),
];
$token = 'Authorization: Bearer ' . call('POST', '/tokens', $client)['token'];

$email = ['sender' => 'shop@example.com', 'to' => $argv[1], 'subject' => 'Hello', 'body' => 'Hi'];
// Your own name for this e-mail, such as its order's number. It is sent once for each key.
$key = 'Idempotency-Key: ' . bin2hex(random_bytes(16));
$id = call('POST', '/emails', $email, [$token, $key])['id'];

do {
    $email = call('GET', "/emails/$id?wait=30s", null, [$token]);
} while ($email['status'] === 'incomplete');
foreach ($email['recipients'] as $recipient) {
    echo "{$recipient['email']} {$recipient['status']} {$recipient['status_reason']}\n";
}
