// A run by Microsoft's fabric-sdk-go, moved by its one setting, the endpoint; its token is the caller's key or token. Prints the
// job's last status.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/microsoft/fabric-sdk-go/fabric"
	"github.com/microsoft/fabric-sdk-go/fabric/core"
)

type token string

// GetToken gives the same token as long as it is asked.
func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// ended says whether a job with that status goes no further.
func ended(status core.ItemJobStatus) bool {
	return status != core.ItemJobStatusNotStarted && status != core.ItemJobStatusInProgress
}

func run(ctx context.Context) error {
	endpoint := os.Getenv("BASE_URL")
	client, err := fabric.NewClient(token(os.Getenv("TOKEN")), &endpoint, nil)
	if err != nil {
		return err
	}
	jobs := core.NewClientFactoryWithClient(*client).NewJobSchedulerClient()
	workspace, item := os.Getenv("WORKSPACE"), os.Getenv("ITEM")
	started, err := jobs.RunOnDemandItemJob(ctx, workspace, item, "RunNotebook", nil)
	if err != nil {
		return err
	}
	parts := strings.Split(*started.Location, "/")
	for {
		job, err := jobs.GetItemJobInstance(ctx, workspace, item, parts[len(parts)-1], nil)
		if err != nil {
			return err
		}
		if ended(*job.Status) {
			fmt.Println(*job.Status)
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
